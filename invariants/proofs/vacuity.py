"""That the proofs are about something: nothing holds only because nothing can happen.

Every transition is enabled in a state that a chain of transitions leads to from the initial one;
every sentence is false after some transition once its guard or one of its effects is dropped. An
axiom that contradicts the others, a guard that is never true and a sentence that cannot fail all
show up here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from radixproof.invariants.proofs.finite import Individual, Structure, Tuples, initial
from radixproof.invariants.proofs.logic import Relation, Sort, Term
from radixproof.invariants.proofs.obligations import Obligation, invariants, of_steps
from radixproof.invariants.proofs.obligations import consecution as keeps
from radixproof.invariants.proofs.prover import REFUTED, discharge
from radixproof.invariants.proofs.system import Theory, Transition
from radixproof.invariants.proofs.vocabulary import (
    COMPONENT,
    HOLDER,
    NODE,
    short,
    through,
    tiered,
)
from radixproof.invariants.proofs.vocabulary import uses as configured

POPULATION: dict[Sort, tuple[Individual, ...]] = {NODE: ("root", "a", "b"), HOLDER: ("h",)}
DEEPEST = 5
"""Transitions after which the search for an enabling state gives up."""

Chain = tuple[str, ...]


def chains(theory: Theory) -> dict[str, Chain]:
    """Transition -> the shortest chain from the initial state that ends with it.

    Breadth first over three nodes and one holder, under either policy; a transition without an
    entry is enabled in no state that was reached.
    """
    found: dict[str, Chain] = {}
    wanted = {t.name for t in theory.transitions}
    todo: deque[tuple[Structure, Chain]] = deque()
    for policy in (True, False):
        start = initial(POPULATION, theory.initial, _configuration(policy))
        if all(start.holds(a) for a in theory.axioms):
            todo.append((start, ()))
    seen = {_key(start) for start, _ in todo}
    while todo and set(found) < wanted:
        state, chain = todo.popleft()
        if len(chain) == DEEPEST:
            break
        for t, given in _enabled(theory, state):
            longer = (*chain, _told(t, given))
            found.setdefault(t.name, longer)
            after = state.after(t.updates, given)
            key = _key(after)
            if key not in seen:
                seen.add(key)
                todo.append((after, longer))
    return found


def _configuration(policy: bool) -> dict[Relation, Tuples]:
    yes: Tuples = frozenset({()})
    return {
        configured: frozenset((c,) for c in COMPONENT.values),
        tiered: yes,
        through: yes if policy else frozenset(),
        short: frozenset((n,) for n in POPULATION[NODE]),
    }


def _enabled(
    theory: Theory, state: Structure
) -> Iterator[tuple[Transition, dict[Term, Individual]]]:
    for t in theory.transitions:
        for values in product(*(state.individuals(p.sort) for p in t.parameters)):
            given = dict(zip(t.parameters, values, strict=True))
            if all(state.holds(g, given) for g in t.guard.values()):
                yield t, given


def _key(state: Structure) -> frozenset[tuple[Relation, Tuples]]:
    return frozenset(state.facts.items())


def _told(t: Transition, given: Mapping[Term, Individual]) -> str:
    return f"{t.name}({', '.join(str(i) for i in given.values())})"


@dataclass(frozen=True, slots=True)
class Falsified:
    """A sentence and what makes it false; an empty ``by``: nothing does."""

    slug: str
    by: str


def falsified(theory: Theory, solver: str, seconds: float) -> Iterator[Falsified]:
    """Every sentence, with the first thing found that makes it false."""
    held = invariants(theory)

    def breaks(obligation: Obligation) -> bool:
        return discharge(obligation, (solver,), seconds).status == REFUTED

    for i in theory.invariants:
        found = (
            told
            for told, t in _weakened(theory)
            if t.before(i.formula) != i.formula and breaks(keeps(held, t, i))
        )
        yield Falsified(i.slug, next(found, ""))
    for s in theory.steps:
        exempt = [(n, theory.transition(n)) for n in s.exempt]
        tried = (*_weakened(theory), *exempt)
        found = (told for told, t in tried if breaks(of_steps(held, t, s)))
        yield Falsified(s.slug, next(found, ""))


def _weakened(theory: Theory) -> Iterator[tuple[str, Transition]]:
    """Each transition without its guard, then without one of its effects."""
    for t in theory.transitions:
        yield f"{t.name} without its guard", replace(t, guard={})
    for t in theory.transitions:
        for update in t.updates:
            name = update.relation.name
            yield f"{t.name} without its effect on {name!r}", t.keeping(update.relation)
