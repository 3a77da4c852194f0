"""What has to be shown: initiation, consecution, step sentences, lemmas; each as one text.

An obligation is discharged when its text has no model: no state that satisfies all invariants, and
no parameters for which the transition is enabled there, lead to a violation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from radixproof.invariants.proofs import smt
from radixproof.invariants.proofs.grounding import choices, ground
from radixproof.invariants.proofs.logic import Formula, Term, both, either, substitute
from radixproof.invariants.proofs.system import Theory, Transition

INITIALLY = "initially"
LEMMA = "lemma"


@dataclass(frozen=True)
class Obligation:
    """``before`` names what must have no model; ``assumed`` are the sentences it rests on."""

    kind: str
    """``initiation``, ``consecution``, ``step`` or ``lemma``."""
    transition: str
    slug: str
    assumed: tuple[Formula, ...]
    before: Formula
    parameters: tuple[Term, ...] = ()
    sentence: Formula = field(default_factory=lambda: both())

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
        return (
            smt.declarations(self.constants)
            + "".join(_asserted(f) for f in self.assumed)
            + smt.assertion(self.refutation)
        )


_TEXTS: dict[Formula, str] = {}


def _asserted(formula: Formula) -> str:
    """The same few dozen sentences are assumed again and again."""
    if formula not in _TEXTS:
        _TEXTS[formula] = smt.assertion(ground(formula))
    return _TEXTS[formula]


def obligations(theory: Theory, slugs: Collection[str] = ()) -> Iterator[Obligation]:
    """All of them, transition by transition; with ``slugs`` those of these sentences only."""
    initial = {u.relation: u for u in theory.initial}
    start = Transition(INITIALLY, "", (), {}, tuple(initial.values()))
    held = (*theory.axioms, *(i.formula for i in theory.invariants))
    for i in theory.invariants:
        if not slugs or i.slug in slugs:
            before = ~start.before(i.formula)
            yield Obligation("initiation", INITIALLY, i.slug, theory.axioms, before, (), i.formula)
    for t in theory.transitions:
        for i in theory.invariants:
            if not slugs or i.slug in slugs:
                yield consecution(theory, t, i.slug, i.formula)
        for s in theory.steps:
            if (not slugs or s.slug in slugs) and t.name not in s.exempt:
                before = both(t.enabled(), ~t.step(s.formula))
                yield Obligation("step", t.name, s.slug, held, before, t.parameters, s.formula)
    for lemma in theory.lemmas:
        if not slugs or lemma.slug in slugs:
            yield Obligation("lemma", LEMMA, lemma.slug, held, ~lemma.formula, (), lemma.formula)


def consecution(theory: Theory, t: Transition, slug: str, formula: Formula) -> Obligation:
    """That one transition keeps one invariant."""
    held = (*theory.axioms, *(i.formula for i in theory.invariants))
    before = both(t.enabled(), ~t.before(formula))
    return Obligation("consecution", t.name, slug, held, before, t.parameters, formula)


def known(theory: Theory) -> list[str]:
    """Every slug that something is proved of, once, in the order of the theory."""
    return list(dict.fromkeys(s.slug for s in theory.claims))
