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
from random import Random

from radixproof.invariants.proofs.finite import Individual, Structure, Tuples, initial
from radixproof.invariants.proofs.logic import Relation, Sort, Term, Update, value
from radixproof.invariants.proofs.obligations import Obligation, invariants, of_steps
from radixproof.invariants.proofs.obligations import consecution as keeps
from radixproof.invariants.proofs.prover import REFUTED, discharge
from radixproof.invariants.proofs.system import Theory, Transition

STATES = 1500
"""States that the breadth-first search looks at before it goes on at random."""
WALKS, STEPS = 400, 8

Chain = tuple[str, ...]
Given = dict[Term, Individual]


def chains(theory: Theory) -> dict[str, Chain]:
    """Transition -> a chain from the initial state that ends with it.

    Breadth first over few individuals, under every policy, then by random walks with a fixed seed;
    a transition without an entry is enabled in no state that was reached.
    """
    found: dict[str, Chain] = {}
    wanted = {t.name for t in theory.transitions}
    starts = list(_starts(theory))
    todo: deque[tuple[Structure, Chain]] = deque((start, ()) for start in starts)
    seen = {_key(start) for start in starts}
    for _ in range(STATES):
        if not todo or wanted <= set(found):
            break
        state, chain = todo.popleft()
        for t, given in _enabled(theory, state):
            longer = (*chain, _told(t, given))
            found.setdefault(t.name, longer)
            after = state.after(t.updates, given)
            if _key(after) not in seen:
                seen.add(_key(after))
                todo.append((after, longer))
    choose = Random(0)
    for _ in range(WALKS if starts and not wanted <= set(found) else 0):
        state = choose.choice(starts)
        walked: Chain = ()
        for _ in range(STEPS):
            enabled = list(_enabled(theory, state))
            for t, given in enabled:
                found.setdefault(t.name, (*walked, _told(t, given)))
            if not enabled:
                break
            t, given = choose.choice(enabled)
            state, walked = state.after(t.updates, given), (*walked, _told(t, given))
    return found


def _starts(theory: Theory) -> Iterator[Structure]:
    """The initial state over few individuals, under every policy that the axioms allow."""
    signature = theory.signature
    few = (3, *(2 for _ in signature.most))
    population = {
        sort: signature.individuals(sort, min(most, size))
        for (sort, most), size in zip(signature.most.items(), few, strict=False)
    }
    rigid = [r for r in signature.relations if r.changes != "by step"]
    switches = [r for r in rigid if not r.sorts]
    for chosen in product((True, False), repeat=len(switches)):
        off = {r for r, on in zip(switches, chosen, strict=True) if not on}
        given = {r: frozenset(_all(r, population)) for r in rigid if r not in off}
        start = initial(population, theory.initial, given)
        if all(start.holds(a) for a in theory.axioms):
            yield start


def _all(
    relation: Relation, population: Mapping[Sort, tuple[Individual, ...]]
) -> Iterator[tuple[Individual, ...]]:
    return product(*(s.values or population[s] for s in relation.sorts))


def _enabled(theory: Theory, state: Structure) -> Iterator[tuple[Transition, Given]]:
    for t in theory.transitions:
        for values in product(*(state.individuals(p.sort) for p in t.parameters)):
            given = dict(zip(t.parameters, values, strict=True))
            if all(state.holds(g, given) for g in t.guard.values()):
                yield t, given


def _key(state: Structure) -> frozenset[tuple[Relation, Tuples]]:
    return frozenset(state.facts.items())


def _told(t: Transition, given: Given) -> str:
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
            for part, changed in _partly(update):
                yield f"{t.name} without its effect on {name!r} of {part}", t.updating(changed)


def _partly(update: Update) -> Iterator[tuple[str, Update]]:
    """The update with what it does of one component, or on one tier, left out."""
    old = update.relation(*update.variables)
    for v in update.variables:
        for name in v.sort.values:
            here = v.is_(value(name, v.sort))
            yield name, replace(update, formula=(here & old) | (~here & update.formula))
