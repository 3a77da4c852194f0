"""Components and tiers written out, so that only nodes and holders are left to quantify over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from radixproof.invariants.proofs.logic import (
    FALSE,
    TRUE,
    And,
    Atom,
    Equal,
    Formula,
    Not,
    Or,
    Quantified,
    Relation,
    Sort,
    Term,
    both,
    either,
    substitute,
    value,
)


def ground(formula: Formula) -> Formula:
    """The same formula without variables of enumerated sorts, and with what is decided folded."""
    match formula:
        case Equal(left, right) if left == right:
            return TRUE
        case Equal(left, right) if left.kind == right.kind == "value":
            return FALSE
        case Not(body):
            inner = ground(body)
            return FALSE if inner == TRUE else TRUE if inner == FALSE else Not(inner)
        case And(parts):
            return both(*map(ground, parts))
        case Or(parts):
            return either(*map(ground, parts))
        case Quantified(universal, bound, body):
            listed = [v for v in bound if v.sort.values]
            rest = tuple(v for v in bound if not v.sort.values)
            join = both if universal else either
            cases = join(*(ground(substitute(body, dict(c))) for c in choices(listed)))
            return quantified(universal, rest, cases)
    return formula


def quantified(universal: bool, bound: tuple[Term, ...], body: Formula) -> Formula:
    if not bound or body in (TRUE, FALSE):
        return body
    if universal and isinstance(body, And):  # smaller quantified formulas are easier to match
        return both(*(quantified(universal, bound, part) for part in body.parts))
    used = tuple(v for v in bound if occurs(v, body))
    return Quantified(universal, used, body) if used else body


def occurs(term: Term, formula: Formula) -> bool:
    match formula:
        case Atom(_, args):
            return term in args
        case Equal(left, right):
            return term in (left, right)
        case Not(body) | Quantified(_, _, body):
            return occurs(term, body)
        case And(parts) | Or(parts):
            return any(occurs(term, p) for p in parts)
    return False


def choices(terms: list[Term]) -> Iterator[list[tuple[Term, Term]]]:
    """Every way to give each of the terms a value of its sort."""
    values = [[value(name, v.sort) for name in v.sort.values] for v in terms]
    for chosen in product(*values):
        yield list(zip(terms, chosen, strict=True))


def symbol(relation: Relation, args: tuple[Term, ...]) -> str:
    """The name of a relation at fixed components and tiers, such as ``has-full-device``."""
    return "-".join([relation.name, *(a.name for a in args if a.sort.values)])


def open_sorts(relation: Relation) -> tuple[Sort, ...]:
    return tuple(s for s in relation.sorts if not s.values)


def symbols(relation: Relation) -> Iterator[tuple[str, tuple[Term, ...]]]:
    """Every such name, with the components and tiers it stands for."""
    listed = [Term(str(i), s, "variable") for i, s in enumerate(relation.sorts) if s.values]
    for chosen in choices(listed):
        values = tuple(v for _, v in chosen)
        yield symbol(relation, values), values
