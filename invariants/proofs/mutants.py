"""Guard mutation: each conjunct of each guard dropped in turn, and what notices.

A mutant that the proof refutes shows that the conjunct is needed, and by which sentence. One that
survives is implied by the rest of the guard and the invariants, or lets the transition happen only
where it changes nothing (the solver shows both), or is one of the few in ``POLICY``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from radixproof.invariants.proofs.logic import Formula, Quantified, both, either
from radixproof.invariants.proofs.obligations import (
    Assumed,
    Obligation,
    consecution,
    invariants,
    of_steps,
)
from radixproof.invariants.proofs.prover import PROVED, REFUTED, discharge
from radixproof.invariants.proofs.system import Theory, Transition

REFUTES, REDUNDANT, IDLE, SURVIVES = "refuted", "redundant", "idle", "survives"
UNEXPLAINED = "UNEXPLAINED: no sentence needs it, and nobody has said why it is there"
POLICY = {
    ("write-back", "no-child-on-device"): "policy: only what is evicted next is copied",
    ("write-back", "unlocked"): "policy: only what is evicted next is copied",
    ("execute", "first-time"): "a second run writes the same bytes; queues, which are left out,"
    " run a copy once (executing-copies-exactly-its-slots)",
    ("host-lock", "no-copy"): "who takes a lock and who copies are told apart by name only;"
    " the catalogue's receipts-change-only-for-their-owner speaks of it",
}
"""Survivors that restrict what no sentence of the theory speaks of."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard without one conjunct; ``refuted_by`` are the sentences that it breaks."""

    transition: str
    conjunct: str
    verdict: str
    refuted_by: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        if self.verdict == REFUTES:
            return ", ".join(self.refuted_by)
        if self.verdict == REDUNDANT:
            return "the other conjuncts and the invariants imply it"
        if self.verdict == IDLE:
            return "without it the step also happens where it changes nothing"
        return POLICY.get((self.transition, self.conjunct), UNEXPLAINED)


def mutants(theory: Theory, solver: str, seconds: float) -> Iterator[Mutant]:
    """Every mutant, in the order of the theory."""
    held = invariants(theory)
    for t in theory.transitions:
        for conjunct in t.guard:
            yield _judge(theory, held, t, conjunct, solver, seconds)


def _judge(
    theory: Theory, held: Assumed, t: Transition, conjunct: str, solver: str, seconds: float
) -> Mutant:
    weaker = t.without(conjunct)
    broken = tuple(
        o.slug
        for o in _touched(theory, held, weaker)
        if discharge(o, (solver,), seconds).status == REFUTED
    )
    if broken:
        return Mutant(t.name, conjunct, REFUTES, broken)

    def impossible(formula: Formula) -> bool:
        claim = Obligation("guard", t.name, conjunct, held, formula, t.parameters)
        return discharge(claim, (solver,), seconds).status == PROVED

    escapes = both(weaker.enabled(), ~t.guard[conjunct])
    if impossible(escapes):
        return Mutant(t.name, conjunct, REDUNDANT)
    if impossible(both(escapes, _changes_something(t))):
        return Mutant(t.name, conjunct, IDLE)
    return Mutant(t.name, conjunct, SURVIVES)


def _touched(theory: Theory, held: Assumed, t: Transition) -> Iterator[Obligation]:
    """Obligations of sentences that speak of a relation which the transition updates."""
    for i in theory.invariants:
        if t.before(i.formula) != i.formula:
            yield consecution(held, t, i)
    for s in theory.steps:
        if t.name not in s.exempt:
            yield of_steps(held, t, s)


def _changes_something(t: Transition) -> Formula:
    """Some relation differs afterwards."""
    changed = []
    for update in t.updates:
        old = update.relation(*update.variables)
        differs = both(old, ~update.formula) | both(~old, update.formula)
        changed.append(Quantified(False, update.variables, differs))
    return either(*changed)
