"""A small first-order language: written once, then proved by solvers and evaluated on states.

``finite`` evaluates a formula on a finite structure, ``smt`` writes it for z3 and cvc5.
Formulas are built with ``&``, ``|``, ``~``, ``>>`` (implies), ``iff``, ``forall`` and ``exists``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sort:
    """A kind of individuals. ``values`` names them all where there are finitely many."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """A name for an individual.

    ``variable`` is bound by a quantifier or an update, ``parameter`` is what a transition is about,
    ``constant`` and ``value`` (of an enumerated sort) mean the same in every state.
    """

    name: str
    sort: Sort
    kind: str

    def is_(self, other: Term) -> Formula:
        return Equal(self, other)

    def is_not(self, other: Term) -> Formula:
        return Not(Equal(self, other))


class Formula:
    """Base of the eight forms below."""

    __slots__ = ()

    def __and__(self, other: Formula) -> Formula:
        return both(self, other)

    def __or__(self, other: Formula) -> Formula:
        return either(self, other)

    def __invert__(self) -> Formula:
        return Not(self)

    def __rshift__(self, other: Formula) -> Formula:
        return either(Not(self), other)


@dataclass(frozen=True, slots=True)
class Truth(Formula):
    value: bool


@dataclass(frozen=True, slots=True)
class Atom(Formula):
    relation: Relation
    args: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Equal(Formula):
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Not(Formula):
    body: Formula


@dataclass(frozen=True, slots=True)
class And(Formula):
    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Or(Formula):
    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Quantified(Formula):
    universal: bool
    variables: tuple[Term, ...]
    body: Formula


@dataclass(frozen=True, slots=True)
class After(Formula):
    """The body, of the state after the step; only in sentences about steps."""

    body: Formula


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation between individuals.

    ``changes`` is ``by step`` for what transitions update, ``never`` for what the configuration
    fixes, and ``freely`` for what the environment decides anew before every step.
    """

    name: str
    sorts: tuple[Sort, ...]
    meaning: str
    changes: str = "by step"

    def __call__(self, *args: Term) -> Formula:
        if tuple(a.sort for a in args) != self.sorts:
            raise TypeError(f"{self.name} takes {[s.name for s in self.sorts]}")
        return Atom(self, args)


@dataclass(frozen=True, slots=True)
class Update:
    """``relation(variables)`` after the step is what ``formula`` is before it, quantifier-free."""

    relation: Relation
    variables: tuple[Term, ...]
    formula: Formula

    def __post_init__(self) -> None:
        if any(isinstance(f, Quantified | After) for f in walk(self.formula)):
            raise ValueError(f"the update of {self.relation.name} has a quantifier")


TRUE, FALSE = Truth(True), Truth(False)


def variables(sort: Sort, names: str) -> tuple[Term, ...]:
    return tuple(Term(name, sort, "variable") for name in names.split())


def parameter(name: str, sort: Sort) -> Term:
    return Term(name, sort, "parameter")


def constant(name: str, sort: Sort) -> Term:
    return Term(name, sort, "constant")


def value(name: str, sort: Sort) -> Term:
    return Term(name, sort, "value")


def both(*parts: Formula) -> Formula:
    """A conjunction, flat and without what is trivially true."""
    flat: list[Formula] = []
    for part in parts:
        if part == FALSE:
            return FALSE
        flat += part.parts if isinstance(part, And) else () if part == TRUE else (part,)
    return And(tuple(flat)) if len(flat) > 1 else flat[0] if flat else TRUE


def either(*parts: Formula) -> Formula:
    """A disjunction, flat and without what is trivially false."""
    flat: list[Formula] = []
    for part in parts:
        if part == TRUE:
            return TRUE
        flat += part.parts if isinstance(part, Or) else () if part == FALSE else (part,)
    return Or(tuple(flat)) if len(flat) > 1 else flat[0] if flat else FALSE


def iff(left: Formula, right: Formula) -> Formula:
    return (left >> right) & (right >> left)


def forall(*bound: Term) -> Callable[[Formula], Formula]:
    return lambda body: Quantified(True, bound, body)


def exists(*bound: Term) -> Callable[[Formula], Formula]:
    return lambda body: Quantified(False, bound, body)


def after(body: Formula) -> Formula:
    return After(body)


# How an update is written: what a relation gains, loses, or becomes


def gains(atom: Formula, where: Formula) -> Update:
    """The tuples that satisfy ``where`` are added."""
    relation, bound = _pattern(atom)
    return Update(relation, bound, atom | where)


def loses(atom: Formula, where: Formula) -> Update:
    """The tuples that satisfy ``where`` are removed."""
    relation, bound = _pattern(atom)
    return Update(relation, bound, atom & ~where)


def becomes(atom: Formula, formula: Formula) -> Update:
    """The relation holds of exactly the tuples that satisfy ``formula``."""
    relation, bound = _pattern(atom)
    return Update(relation, bound, formula)


def _pattern(atom: Formula) -> tuple[Relation, tuple[Term, ...]]:
    if not isinstance(atom, Atom) or len(set(atom.args)) < len(atom.args):
        raise TypeError("an update speaks of a relation and distinct variables")
    if atom.relation.changes != "by step" or any(a.kind != "variable" for a in atom.args):
        raise TypeError(f"{atom.relation.name} is not updated like this")
    return atom.relation, atom.args


# Reading formulas


def walk(formula: Formula) -> Iterator[Formula]:
    """The formula and everything in it."""
    yield formula
    match formula:
        case And(parts) | Or(parts):
            for part in parts:
                yield from walk(part)
        case Not(body) | Quantified(_, _, body) | After(body):
            yield from walk(body)


def relations_of(formula: Formula) -> set[Relation]:
    return {f.relation for f in walk(formula) if isinstance(f, Atom)}


def terms_of(formula: Formula) -> set[Term]:
    """Every term that occurs, bound or not."""
    found: set[Term] = set()
    for f in walk(formula):
        match f:
            case Atom(_, args):
                found.update(args)
            case Equal(left, right):
                found.update((left, right))
    return found


def substitute(formula: Formula, terms: Mapping[Term, Term]) -> Formula:
    """Terms for terms, everywhere. The new ones must not be bound in the formula."""
    match formula:
        case Atom(relation, args):
            return Atom(relation, tuple(terms.get(a, a) for a in args))
        case Equal(left, right):
            return Equal(terms.get(left, left), terms.get(right, right))
        case Not(body):
            return ~substitute(body, terms)
        case And(parts):
            return both(*(substitute(p, terms) for p in parts))
        case Or(parts):
            return either(*(substitute(p, terms) for p in parts))
        case Quantified(universal, bound, body):
            return Quantified(universal, bound, substitute(body, terms))
        case After(body):
            return After(substitute(body, terms))
    return formula


def precondition(formula: Formula, updates: Mapping[Relation, Update]) -> Formula:
    """What must hold before a step for ``formula`` to hold after it.

    Updates define the new relations by the old ones, so no second copy of the state is needed.
    """
    match formula:
        case Atom(relation, args) if relation in updates:
            update = updates[relation]
            return substitute(update.formula, dict(zip(update.variables, args, strict=True)))
        case Not(body):
            return ~precondition(body, updates)
        case And(parts):
            return both(*(precondition(p, updates) for p in parts))
        case Or(parts):
            return either(*(precondition(p, updates) for p in parts))
        case Quantified(universal, bound, body):
            return Quantified(universal, bound, precondition(body, updates))
    return formula


def of_step(formula: Formula, updates: Mapping[Relation, Update]) -> Formula:
    """A sentence about a step as a sentence about the state before it."""
    match formula:
        case After(body):
            return precondition(body, updates)
        case Not(body):
            return ~of_step(body, updates)
        case And(parts):
            return both(*(of_step(p, updates) for p in parts))
        case Or(parts):
            return either(*(of_step(p, updates) for p in parts))
        case Quantified(universal, bound, body):
            return Quantified(universal, bound, of_step(body, updates))
    return formula
