"""What has to be shown: initiation, consecution, step sentences, lemmas; each as one text.

An obligation is discharged when its text has no model: no state that satisfies all invariants, and
no parameters for which the transition is enabled there, lead to a violation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from radixproof.invariants.proofs import smt
from radixproof.invariants.proofs.grounding import choices, ground
from radixproof.invariants.proofs.logic import TRUE, Formula, Term, both, either, substitute
from radixproof.invariants.proofs.system import (
    Sentence,
    Signature,
    StepSentence,
    Theory,
    Transition,
)

INITIALLY = "initially"
LEMMA = "lemma"


@dataclass(frozen=True, eq=False)
class Assumed:
    """What may be assumed of a state; shared by hundreds of obligations, so written once."""

    signature: Signature
    formulas: tuple[Formula, ...]

    @cached_property
    def ground(self) -> tuple[Formula, ...]:
        return tuple(map(ground, self.formulas))

    @cached_property
    def text(self) -> str:
        return "".join(map(smt.assertion, self.ground))


@dataclass(frozen=True, eq=False)
class Obligation:
    """``before`` is what must be impossible in a state of which ``assumed`` is true."""

    kind: str
    """``initiation``, ``consecution``, ``step``, ``lemma``, or ``guard`` for a question."""
    transition: str
    slug: str
    assumed: Assumed
    before: Formula
    parameters: tuple[Term, ...] = ()
    sentence: Formula = TRUE
    logic: str = "UF"

    @cached_property
    def refutation(self) -> Formula:
        """``before`` with every choice of component and tier written out."""
        listed = [p for p in self.parameters if p.sort.values]
        return either(*(ground(substitute(self.before, dict(c))) for c in choices(listed)))

    @property
    def constants(self) -> tuple[Term, ...]:
        return tuple(p for p in self.parameters if not p.sort.values)

    @property
    def text(self) -> str:
        stated = smt.assertion(self.refutation)
        declared = smt.declarations(self.assumed.signature, self.constants)
        return declared + self.assumed.text + stated


def axioms(theory: Theory) -> Assumed:
    return Assumed(theory.signature, theory.axioms)


def invariants(theory: Theory) -> Assumed:
    """The axioms and everything that is claimed of every state."""
    claimed = (i.formula for i in theory.invariants)
    return Assumed(theory.signature, (*theory.axioms, *claimed))


def obligations(theory: Theory, slugs: Collection[str] = ()) -> Iterator[Obligation]:
    """All of them, transition by transition; with ``slugs`` those of these sentences only."""
    start = Transition(INITIALLY, "", (), {}, theory.initial)
    nothing, held = axioms(theory), invariants(theory)
    for i in theory.invariants:
        if not slugs or i.slug in slugs:
            before = ~start.before(i.formula)
            yield Obligation("initiation", INITIALLY, i.slug, nothing, before, (), i.formula)
    for t in theory.transitions:
        for i in theory.invariants:
            if not slugs or i.slug in slugs:
                yield consecution(held, t, i)
        for s in theory.steps:
            if (not slugs or s.slug in slugs) and t.name not in s.exempt:
                yield of_steps(held, t, s)
    for lemma in theory.lemmas:
        if not slugs or lemma.slug in slugs:
            yield Obligation("lemma", LEMMA, lemma.slug, held, ~lemma.formula, (), lemma.formula)


def consecution(held: Assumed, t: Transition, i: Sentence) -> Obligation:
    """That one transition keeps one invariant."""
    before = both(t.enabled(), ~t.before(i.formula))
    return Obligation("consecution", t.name, i.slug, held, before, t.parameters, i.formula)


def of_steps(held: Assumed, t: Transition, s: StepSentence) -> Obligation:
    """That every step of one transition is as a sentence says."""
    before = both(t.enabled(), ~t.step(s.formula))
    return Obligation("step", t.name, s.slug, held, before, t.parameters, s.formula)


def known(theory: Theory) -> list[str]:
    """Every slug that something is proved of, once, in the order of the theory."""
    return list(dict.fromkeys(s.slug for s in theory.claims))
