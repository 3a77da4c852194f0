"""The gate on a release: walks in its process until counts or time are reached.

Unlike the gate on a cache with a model beside it, this one goes on after a counterexample: a
release has several defects, and each kind is shrunk and reported once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from radixproof.model.errors import ConfigError
from radixproof.model.operations import OPERATIONS
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.configs import ANY, Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.dialect import in_part, not_checked
from radixproof.stateful_tests.sglang.process import Died, ReleaseProcess, Unusable, unpack
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.sglang.walk import STEPS
from radixproof.stateful_tests.verdict import Counterexample, kinds

BATCH = 25


@dataclass(frozen=True, slots=True)
class Found:
    """One kind of failure, shrunk. ``seconds``, ``steps``: from the start of the run to it."""

    counterexample: Counterexample
    seed: int
    walks: int
    steps: int
    seconds: float


@dataclass(slots=True)
class Judgement:
    """What a run on a release found, and what it rests on."""

    seed: int
    found: list[Found] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    failing_walks: int = 0
    walks: int = 0
    not_checked: Mapping[str, str] = field(default_factory=dict)
    in_part: Mapping[str, str] = field(default_factory=dict)
    """Invariants that are judged as far as the state is shown."""
    stub_calls: list[str] = field(default_factory=list)
    ranks: int = 1
    stopped: str = ""
    """Why the run ended before its plan; "": it did not."""

    @property
    def never(self) -> list[str]:
        """Operations of a server that were never performed."""
        done = {name for name, kind in self.coverage.outcomes if kind == "ok"}
        return [n for n in OPERATIONS if n not in done and n not in _NOT_A_SERVERS]


_NOT_A_SERVERS = ("fail_allocation", "host_lock", "host_unlock")
Progress = Callable[[float, Coverage], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How far a run goes: so many walks, or so many seconds. ``wanted``: stop at these slugs."""

    walks: int
    seconds: float | None = None
    limits: Limits = ANY
    reach: Reach = DEFAULT
    steps: int = STEPS
    wanted: frozenset[str] = frozenset()
    relation: bool = False
    """Every step is explained by the transitions that are proved, too."""
    shrinks: bool = True

    def command(self, first: int, count: int, known: set[str]) -> dict[str, Any]:
        return {
            "do": "walks",
            "first": first,
            "count": count,
            "limits": asdict(self.limits),
            "reach": asdict(self.reach),
            "steps": self.steps,
            "wanted": sorted(self.wanted),
            "known": sorted(known),
            "relation": self.relation,
            "shrinks": self.shrinks,
        }


def judge(
    process: ReleaseProcess, plan: Plan, seed: int | None = None, progress: Progress | None = None
) -> Judgement:
    """Walk until the plan is done; with ``wanted``, until the first of them is found."""
    used = random.SystemRandom().randrange(1 << 20) if seed is None else seed
    about, decodes = process.about, plan.limits.decode_server
    run = Judgement(
        used,
        not_checked=not_checked(about["options"], decode_server=decodes),
        in_part=in_part(about["options"], decode_server=decodes),
        ranks=plan.limits.ranks or 1,
    )
    known: set[str] = set()
    begin = monotonic()
    try:
        while True:
            share = _share(run, plan, monotonic() - begin)
            if progress is not None:
                progress(min(share, 1.0), run.coverage)
            if share >= 1:
                break
            count = min(BATCH, plan.walks - run.walks) if plan.seconds is None else BATCH
            found, at = _batch(process, plan, run, used * 1_000_003 + run.walks, count, known)
            if found is None:
                continue
            spent = monotonic() - begin
            run.found.append(Found(found, at, run.walks, run.coverage.steps, spent))
            known |= kinds(found)
            if plan.wanted & set(found.slugs):
                break
    except KeyboardInterrupt:
        run.stopped = "interrupted"
    except Unusable as problem:
        run.stopped = str(problem)
    return run


def _share(run: Judgement, plan: Plan, spent: float) -> float:
    return run.walks / plan.walks if plan.seconds is None else spent / plan.seconds


def _batch(
    process: ReleaseProcess, plan: Plan, run: Judgement, first: int, count: int, known: set[str]
) -> tuple[Counterexample | None, int]:
    """Some walks; what they found that is new, and the seed of that walk."""
    begun = run.walks
    try:
        for event in process.ask(plan.command(first, count, known)):
            if event["event"] == "walked":
                run.walks += 1
                run.failing_walks += event["found"]
                run.coverage.add(coverage_of(event))
            else:
                run.stub_calls = event["called"]
                return unpack(event["found"]), event.get("seed", -1)
    except Died as death:
        process.restart()
        seed = first + run.walks - begun
        run.walks += 1
        run.failing_walks += 1
        new = kinds(death.counterexample) - known
        return (death.counterexample if new else None), seed
    return None, -1


def replay_on(
    process: ReleaseProcess,
    trace: Trace,
    reach: Reach = DEFAULT,
    coverage: Coverage | None = None,
    *,
    shrink: bool = False,
    relation: bool = False,
    past: Collection[str] = (),
) -> Counterexample | None:
    """The first counterexample of a trace on a release. Raises ``ConfigError`` if it cannot run.

    ``past``: slugs of step invariants not to stop at (solo.py).
    """
    command = {
        "do": "replay",
        "trace": dumps(trace),
        "reach": asdict(reach),
        "shrink": shrink,
        "relation": relation,
        "past": sorted(past),
    }
    found: Counterexample | None = None
    try:
        for event in process.ask(command):
            if event["event"] == "refused":
                raise ConfigError(event["line"])
            if event["event"] == "walked" and coverage is not None:
                coverage.add(coverage_of(event))
            elif event["event"] == "done":
                found = unpack(event["found"])
    except Died as death:
        process.restart()
        found = death.counterexample
    return found


def coverage_of(event: Mapping[str, Any]) -> Coverage:
    """What a worker said that a walk covered."""
    coverage = Coverage(1, event["steps"], event["evaluations"])
    coverage.outcomes.update({(o, kind): n for o, kind, n in event["outcomes"]})
    coverage.links.update(event["links"])
    return coverage
