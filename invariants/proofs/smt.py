"""A formula as SMT-LIB 2.6 text, the same text for every solver."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from radixproof.invariants.proofs.grounding import open_sorts, symbol, symbols
from radixproof.invariants.proofs.logic import (
    And,
    Atom,
    Equal,
    Formula,
    Not,
    Or,
    Quantified,
    Sort,
    Term,
    Truth,
)
from radixproof.invariants.proofs.system import Signature


def declarations(signature: Signature, parameters: Iterable[Term] = ()) -> str:
    """Sorts, relations, constants, and constants that stand for parameters."""
    lines = [f"(declare-sort {s.name} 0)" for s in signature.most]
    for relation in signature.relations:
        sorts = " ".join(s.name for s in open_sorts(relation))
        lines += [f"(declare-fun {name} ({sorts}) Bool)" for name, _ in symbols(relation)]
    lines += [
        f"(declare-const {c.name} {c.sort.name})" for c in (*signature.constants, *parameters)
    ]
    return "\n".join(lines) + "\n"


def assertion(formula: Formula) -> str:
    return f"(assert {text(formula)})\n"


def text(formula: Formula) -> str:
    """A ground formula (``grounding.ground``) as an s-expression."""
    match formula:
        case Truth(value):
            return "true" if value else "false"
        case Atom(relation, args):
            name, rest = symbol(relation, args), [a.name for a in args if not a.sort.values]
            return f"({name} {' '.join(rest)})" if rest else name
        case Equal(left, right):
            return f"(= {left.name} {right.name})"
        case Not(body):
            return f"(not {text(body)})"
        case And(parts):
            return f"(and {' '.join(map(text, parts))})"
        case Or(parts):
            return f"(or {' '.join(map(text, parts))})"
        case Quantified(universal, bound, body):
            names = " ".join(f"({v.name} {v.sort.name})" for v in bound)
            return f"({'forall' if universal else 'exists'} ({names}) {text(body)})"
    raise TypeError(f"{formula} has no text")


def exactly(names: Mapping[Sort, Sequence[str]], declared: Collection[str]) -> str:
    """The individuals of each sort: these, all different, and no others."""
    lines = []
    for sort, all_of_it in names.items():
        lines += [f"(declare-const {n} {sort.name})" for n in all_of_it if n not in declared]
        equal = " ".join(f"(= v {n})" for n in all_of_it)
        lines.append(f"(assert (forall ((v {sort.name})) (or {equal})))")
        if len(all_of_it) > 1:
            lines.append(f"(assert (distinct {' '.join(all_of_it)}))")
    return "\n".join(lines) + "\n"


def label(name: str, text: str) -> str:
    """A Boolean constant that says whether the text holds."""
    return f"(declare-const {name} Bool)\n(assert (= {name} {text}))\n"
