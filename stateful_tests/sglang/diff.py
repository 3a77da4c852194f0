"""The same traces on two releases or cores: the first difference, shrunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from radixproof.model.errors import ConfigError, ErrorKind
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.configs import ANY, Limits
from radixproof.stateful_tests.lockstep import describe
from radixproof.stateful_tests.sglang.process import Died, ReleaseProcess, unpack
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.sglang.shown import differences
from radixproof.stateful_tests.sglang.walk import STEPS
from radixproof.stateful_tests.shrink import Shrinker
from radixproof.stateful_tests.verdict import DIFFERENCE, Counterexample, Finding

BUDGET = 400
_ILLEGAL = (ErrorKind.ARGUMENT, ErrorKind.PROTOCOL, ErrorKind.BUSY)
Step = tuple[Outcome, dict[str, Any], Snapshot | None]
"""What a step answered, what it looks like from outside (outward.py), and the state."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases, and how many traces both ran alike."""

    left: ReleaseProcess
    right: ReleaseProcess

    @property
    def of_one_release(self) -> bool:
        """Two cores of one release show the same state, as far as both show it (shown.py)."""
        return self.left.source.root == self.right.source.root

    def compare(self, trace: Trace) -> Counterexample | None:
        """The first step after which the two differ. Raises ``ConfigError`` if one cannot be it."""
        seen = self._run(self.left, trace), self._run(self.right, trace)
        names = self.left.source.name, self.right.source.name
        for step, (a, b) in enumerate(zip(*seen, strict=True)):
            if any(o.error in _ILLEGAL for o in (a[0], b[0])):
                return None  # a trace that a shrinker made illegal compares nothing
            told = _differences(a, b, names)
            if told:
                cut = Trace(trace.config, trace.operations[: step + 1], trace.note)
                findings = tuple(Finding(" / ".join(names), DIFFERENCE, None, t) for t in told)
                return Counterexample(cut, step, cut.operations[-1], a[0], None, None, findings)
        return None

    def _run(self, process: ReleaseProcess, trace: Trace) -> list[Step]:
        look = self.of_one_release
        for event in process.ask({"do": "steps", "trace": dumps(trace), "look": look}):
            if event["event"] == "refused":
                raise ConfigError(event["line"])
            if event["event"] == "done":
                steps: list[Step] = unpack(event["steps"])
                return steps
        raise AssertionError("a worker ends with done or refused")

    def drawn(self, seed: int, limits: Limits = ANY, reach: Reach = DEFAULT) -> Trace:
        """A trace from states of one subject, of a Python core if there is one."""
        process = self.left if self.left.source.core == "python" else self.right
        command = {
            "do": "trace",
            "seed": seed,
            "limits": asdict(limits),
            "reach": asdict(reach),
            "steps": STEPS,
        }
        for event in process.ask(command):
            if event["event"] == "done":
                return loads(event["trace"])
        raise AssertionError("a worker ends with done")

    def shrink(self, found: Counterexample) -> Counterexample:
        def attempt(trace: Trace) -> Counterexample | None:
            try:
                return self.compare(trace)
            except (ConfigError, Died):
                return None

        return Shrinker(found, attempt, frozenset({DIFFERENCE}), BUDGET).run()


def first_difference(
    pair: Pair,
    seeds: range,
    limits: Limits = ANY,
    reach: Reach = DEFAULT,
    go_on: Callable[[int], bool] = lambda _: True,
) -> tuple[Counterexample | None, int]:
    """Trace after trace until two subjects differ; the difference, shrunk, and the traces run."""
    for count, seed in enumerate(seeds):
        if not go_on(count):
            return None, count
        try:
            found = pair.compare(pair.drawn(seed, limits, reach))
        except Died as death:
            return death.counterexample, count + 1
        if found is not None:
            return pair.shrink(found), count + 1
    return None, len(seeds)


def _differences(a: Step, b: Step, names: tuple[str, str]) -> list[str]:
    """One line per thing that differs; values that only one of them reports do not count."""
    told = []
    shared = a[0].values.keys() & b[0].values.keys()
    outcomes = [(o.kind, {k: o.values[k] for k in shared}) for o in (a[0], b[0])]
    if outcomes[0] != outcomes[1]:
        told.append(f"{names[0]}: {describe(a[0])}; {names[1]}: {describe(b[0])}")
    for key in sorted(a[1].keys() | b[1].keys()):
        if a[1].get(key) != b[1].get(key):
            told.append(f"{key}: {a[1].get(key)} / {b[1].get(key)}")
    if a[2] is not None and b[2] is not None:
        told += differences(a[2], b[2])
    return told
