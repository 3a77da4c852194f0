"""Transitions and sentences: what a theory is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from radixproof.invariants.proofs.logic import (
    Formula,
    Relation,
    Sort,
    Term,
    Update,
    both,
    of_step,
    precondition,
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that can happen, all at once.

    It may happen for any ``parameters`` that satisfy every conjunct of ``guard``; relations
    without an update keep what they have.
    """

    name: str
    meaning: str
    parameters: tuple[Term, ...]
    guard: Mapping[str, Formula]
    updates: tuple[Update, ...]

    def __post_init__(self) -> None:
        if len(self.by_relation) < len(self.updates):
            raise ValueError(f"{self.name} updates a relation twice")

    @property
    def by_relation(self) -> dict[Relation, Update]:
        return {u.relation: u for u in self.updates}

    def enabled(self) -> Formula:
        return both(*self.guard.values())

    def before(self, sentence: Formula) -> Formula:
        """What must hold before this happens for ``sentence`` to hold afterwards."""
        return precondition(sentence, self.by_relation)

    def step(self, sentence: Formula) -> Formula:
        """A sentence about steps, of this transition."""
        return of_step(sentence, self.by_relation)

    # What known-wrong variants and guard mutants are made with

    def without(self, *conjuncts: str) -> Transition:
        missing = set(conjuncts) - set(self.guard)
        if missing:
            raise KeyError(f"{self.name} has no conjunct {missing.pop()}")
        return replace(self, guard={n: f for n, f in self.guard.items() if n not in conjuncts})

    def requiring(self, **conjuncts: Formula) -> Transition:
        named = {n.replace("_", "-"): f for n, f in conjuncts.items()}
        return replace(self, guard={**self.guard, **named})

    def updating(self, *updates: Update) -> Transition:
        """With other updates of some relations."""
        changed = {u.relation: u for u in updates}
        return replace(self, updates=tuple({**self.by_relation, **changed}.values()))

    def keeping(self, *relations: Relation) -> Transition:
        """Without the updates of some relations."""
        return replace(self, updates=tuple(u for u in self.updates if u.relation not in relations))


@dataclass(frozen=True, slots=True)
class Sentence:
    """A claim about states. ``slug`` is the catalogue's where it states the same rule.

    A ``helper`` is no rule of the catalogue: it is what makes the others inductive.
    """

    slug: str
    meaning: str
    formula: Formula
    helper: bool = False


@dataclass(frozen=True, slots=True)
class StepSentence:
    """A claim about every step of all transitions but those named."""

    slug: str
    meaning: str
    formula: Formula
    exempt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lemma:
    """A claim that follows from the invariants, and is no part of the induction."""

    slug: str
    meaning: str
    formula: Formula


@dataclass(frozen=True, slots=True)
class Signature:
    """What formulas may speak of."""

    relations: tuple[Relation, ...]
    most: Mapping[Sort, int]
    """Sorts, with how many individuals a counterexample may have at most."""
    constants: tuple[Term, ...] = ()
    preferred: tuple[Relation, ...] = ()
    """Relations that a counterexample makes true rather than false, decided last."""

    def individuals(self, sort: Sort, size: int) -> tuple[str, ...]:
        """That many of a sort: by the constants that name them, the others numbered."""
        named = [c.name for c in self.constants if c.sort == sort]
        numbered = [f"{sort.name.lower()}{i}" for i in range(1, size + 1 - len(named))]
        return (*named, *numbered)

    @property
    def state(self) -> tuple[Relation, ...]:
        return tuple(r for r in self.relations if r.changes == "by step")


@dataclass(frozen=True, slots=True)
class Theory:
    """Axioms of the configuration, the initial state, what may happen, and what is claimed."""

    signature: Signature
    axioms: tuple[Formula, ...]
    initial: tuple[Update, ...]
    """Each state relation as it is when nothing has happened."""
    transitions: tuple[Transition, ...]
    invariants: tuple[Sentence, ...]
    steps: tuple[StepSentence, ...]
    lemmas: tuple[Lemma, ...]

    @property
    def claims(self) -> tuple[Sentence | StepSentence | Lemma, ...]:
        """Everything that is proved; an invariant and its parent sentence share a slug."""
        return (*self.invariants, *self.steps, *self.lemmas)

    def transition(self, name: str) -> Transition:
        return next(found for found in self.transitions if found.name == name)

    def replacing(self, *changed: Transition) -> Theory:
        """With other transitions of the same names, or with more of them."""
        by_name = {old.name: old for old in self.transitions}
        by_name.update({new.name: new for new in changed})
        return replace(self, transitions=tuple(by_name.values()))


@dataclass(frozen=True, slots=True)
class WrongRule:
    """A known-wrong rule (domain.md 9) as a change of a theory.

    ``breaks`` are (transition, slug) pairs that must be refuted; others may be, too.
    """

    id: str
    title: str
    right: Theory
    transitions: tuple[Transition, ...]
    """In place of those of the same names, or beside the others."""
    breaks: tuple[tuple[str, str], ...]

    @property
    def theory(self) -> Theory:
        return self.right.replacing(*self.transitions)
