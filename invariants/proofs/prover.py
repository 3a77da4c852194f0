"""Discharges obligations with one solver or with both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from radixproof.invariants.proofs.obligations import Obligation, obligations
from radixproof.invariants.proofs.solvers import SAT, UNSAT, Answer, ask
from radixproof.invariants.proofs.system import Theory

PROVED, REFUTED, UNKNOWN = "proved", "refuted", "unknown"
SECONDS = 10.0
"""How long a solver may think about one obligation."""


class Claim(Protocol):
    """What can be discharged: an obligation of a theory, or a bounded one."""

    @property
    def kind(self) -> str: ...

    @property
    def transition(self) -> str: ...

    @property
    def slug(self) -> str: ...

    @property
    def logic(self) -> str: ...

    @property
    def text(self) -> str: ...


C = TypeVar("C", bound=Claim, covariant=True)
D = TypeVar("D", bound=Claim)


@dataclass(frozen=True, slots=True)
class Result(Generic[C]):
    """One claim and what each solver said of it."""

    obligation: C
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
) -> Iterator[Result[Obligation]]:
    """One result per obligation, in order."""
    for obligation in obligations(theory, slugs):
        yield discharge(obligation, solvers, seconds)


def discharge(claim: D, solvers: Sequence[str], seconds: float = SECONDS) -> Result[D]:
    """Ask every solver whether the claim can be violated."""
    text = claim.text
    return Result(claim, {s: ask(s, text, seconds, claim.logic) for s in solvers})
