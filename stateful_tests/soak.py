"""A soak: every component set under every write policy in turn, until enough steps are checked.

Round ``i`` belongs to cell ``i mod 12`` (a component set and a policy) and is a gate run with a
seed of its own, a function of the soak's seed and ``i``. So a soak can stop after any round and
go on in another process, and its record says what was done up to there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from radixproof.model.config import COMPONENT_SETS, WRITE_POLICIES
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.gate import run_gate
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.profiles import Profile
from radixproof.stateful_tests.verdict import Counterexample

CELLS = tuple(product(COMPONENT_SETS, WRITE_POLICIES))
ROUND = Profile("soak", 1, examples=20, example_steps=50, walks=40, walk_steps=80)
"""About 4,200 steps."""


@dataclass(slots=True)
class SoakRecord:
    """What a soak has done so far; plain data, so that another process can go on."""

    subject: str
    seed: int
    rounds: int = 0
    coverage: Coverage = field(default_factory=Coverage)
    steps_of: Counter[str] = field(default_factory=Counter)
    """Cell -> checked steps."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        c = self.coverage
        return {
            "subject": self.subject,
            "seed": self.seed,
            "rounds": self.rounds,
            "configurations": c.configurations,
            "steps": c.steps,
            "invariant_evaluations": c.evaluations,
            "outcomes": {f"{o} {kind}": n for (o, kind), n in sorted(c.outcomes.items())},
            "steps_of": dict(self.steps_of),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, raw: Any) -> SoakRecord:
        """Inverse of ``to_json``. Raises ``ValueError`` for anything else."""
        try:
            covered = Coverage(
                configurations=int(raw["configurations"]),
                steps=int(raw["steps"]),
                evaluations=int(raw["invariant_evaluations"]),
            )
            for name, times in raw["outcomes"].items():
                operation, kind = name.split(" ")
                covered.outcomes[operation, kind] = int(times)
            return cls(
                subject=str(raw["subject"]),
                seed=int(raw["seed"]),
                rounds=int(raw["rounds"]),
                coverage=covered,
                steps_of=Counter({str(c): int(n) for c, n in raw["steps_of"].items()}),
                seconds=float(raw["seconds"]),
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"no record of a soak: {problem}") from None


def cell_name(limits: Limits) -> str:
    return f"{'+'.join(limits.components or ())} {limits.write_policy}"


def soak(
    open_subject: OpenSubject,
    record: SoakRecord,
    steps: int,
    after_round: Callable[[SoakRecord], None],
) -> Counterexample | None:
    """Go on from ``record`` until it counts ``steps`` checked steps, or something is wrong.

    The first round of each cell begins with the corpus. Raises ``KeyboardInterrupt`` when the user
    stops it; the round under way is then not in the record.
    """
    while record.coverage.steps < steps:
        components, policy = CELLS[record.rounds % len(CELLS)]
        limits = Limits(components=components, write_policy=policy)
        report = run_gate(
            open_subject,
            ROUND,
            seed=record.seed * 1_000_003 + record.rounds,
            limits=limits,
            kept=record.rounds < len(CELLS),
        )
        if report.interrupted:
            raise KeyboardInterrupt
        record.rounds += 1
        record.coverage.add(report.coverage)
        record.steps_of[cell_name(limits)] += report.coverage.steps
        after_round(record)
        if report.counterexample is not None:
            return report.counterexample
    return None
