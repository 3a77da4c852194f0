"""Whether a formula is effectively propositional, so that solvers decide it.

Skolem functions lead from the sorts of the universal variables in whose scope an existential one
stands to the sort of that one. While these arrows have no cycle there are finitely many ground
terms, so every satisfiable formula has a finite model and every solver run ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from radixproof.invariants.proofs.logic import And, Formula, Not, Or, Quantified, Sort, Term
from radixproof.invariants.proofs.obligations import Obligation

Arrow = tuple[str, str]


def arrows(formula: Formula) -> set[Arrow]:
    """Names of sorts: from a universal variable to an existential one in its scope."""
    return set(_arrows(formula, True, ()))


def of_obligations(obligations: Iterable[Obligation]) -> set[Arrow]:
    """All arrows of all of them together."""
    found: set[Arrow] = set()
    seen: set[int] = set()
    for o in obligations:
        found |= arrows(o.refutation)
        if id(o.assumed) not in seen:
            seen.add(id(o.assumed))
            found.update(a for f in o.assumed.ground for a in arrows(f))
    return found


def has_cycle(found: Iterable[Arrow]) -> bool:
    """Whether some sort leads back to itself."""
    reached = set(found)
    while True:
        longer = {(a, d) for a, b in reached for c, d in reached if b == c} - reached
        if not longer:
            return any(a == b for a, b in reached)
        reached |= longer


def _arrows(formula: Formula, positive: bool, scope: tuple[Term, ...]) -> Iterable[Arrow]:
    match formula:
        case Not(body):
            yield from _arrows(body, not positive, scope)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _arrows(part, positive, scope)
        case Quantified(universal, bound, body) if universal == positive:
            yield from _arrows(body, positive, (*scope, *bound))
        case Quantified(_, bound, body):
            yield from ((_sort(v.sort), _sort(b.sort)) for v in scope for b in bound)
            yield from _arrows(body, positive, scope)


def _sort(sort: Sort) -> str:
    return sort.name
