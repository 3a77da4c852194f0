"""Discharges obligations with one solver or with both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from radixproof.invariants.proofs.obligations import Obligation, obligations
from radixproof.invariants.proofs.solvers import SAT, UNSAT, Answer, ask
from radixproof.invariants.proofs.system import Theory

PROVED, REFUTED, UNKNOWN = "proved", "refuted", "unknown"
SECONDS = 10.0
"""How long a solver may think about one obligation."""


@dataclass(frozen=True, slots=True)
class Result:
    """One obligation and what each solver said of it."""

    obligation: Obligation
    answers: Mapping[str, Answer]

    @property
    def status(self) -> str:
        """Proved if every solver says so, refuted if every solver says so, else unknown."""
        said = {a.status for a in self.answers.values()}
        return PROVED if said == {UNSAT} else REFUTED if said == {SAT} else UNKNOWN

    @property
    def seconds(self) -> float:
        return sum(a.seconds for a in self.answers.values())


def prove(
    theory: Theory,
    solvers: Sequence[str],
    *,
    slugs: Collection[str] = (),
    seconds: float = SECONDS,
) -> Iterator[Result]:
    """One result per obligation, in order."""
    for obligation in obligations(theory, slugs):
        yield discharge(obligation, solvers, seconds)


def discharge(obligation: Obligation, solvers: Sequence[str], seconds: float = SECONDS) -> Result:
    text = obligation.text
    return Result(obligation, {solver: ask(solver, text, seconds) for solver in solvers})
