"""A snapshot as a structure of the theory of slots, and which of its sentences are false there.

Tokens of the tree are named by the prefix that their page ends, which a split does not change, and
positions of requests by (request, index). The theory has one host pool; it is read from the FULL
one. What a list holds twice is given to nobody as well, so that it has two owners.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from radixproof.invariants.proofs.finite import Individual, Structure
from radixproof.invariants.proofs.logic import Relation, Sort
from radixproof.invariants.proofs.slots.theory import SLOTS
from radixproof.invariants.proofs.slots.vocabulary import (
    CELL,
    HOST_SLOT,
    POSITION,
    SLOT,
    WINDOW_SLOT,
    free,
    full_at,
    host_at,
    host_free,
    leads,
    owned,
    reads,
    resident,
    row,
    swa_at,
    window_free,
)
from radixproof.invariants.view import View

Facts = dict[Relation, set[tuple[Any, ...]]]


def broken(view: View) -> list[str]:
    """Slugs of the sentences about slots that a state violates."""
    state = structure(view)
    return [i.slug for i in SLOTS.invariants if not state.holds(i.formula)]


def structure(view: View) -> Structure:
    facts = read(view)
    return Structure(population(view, facts), {r: frozenset(f) for r, f in facts.items()})


def read(view: View) -> Facts:
    """What holds in a state."""
    facts: Facts = {r: set() for r in SLOTS.signature.relations}
    for pool, relation, held in (
        ("full", free, full_at),
        ("swa", window_free, swa_at),
        ("host_full", host_free, host_at),
    ):
        _free(view, facts, pool, relation, held)
    facts[leads] = {(x, w) for x, w in enumerate(view.full_to_swa) if w}
    _tree(view, facts)
    _requests(view, facts)
    return facts


def population(view: View, *states: Facts) -> dict[Sort, tuple[Individual, ...]]:
    """All slots there are, and every token and position that the states speak of."""
    held = [f for facts in states for r in (full_at, swa_at, host_at) for f in facts[r]]
    rows = [f for facts in states for f in facts[row]]
    return {
        SLOT: _slots(view, "full"),
        WINDOW_SLOT: _slots(view, "swa"),
        HOST_SLOT: _slots(view, "host_full"),
        CELL: tuple(dict.fromkeys(f[0] for f in held)),
        POSITION: tuple(dict.fromkeys(f[0] for f in rows)),
    }


def cell_of(view: View, namespace: str, units: tuple[int, ...], i: int) -> Individual:
    """The token at position i of a prefix: siblings share no page, but they may share tokens."""
    size = view.config.page_size
    page_end = (i // size + 1) * size
    return f"{namespace}:{' '.join(map(str, units[:page_end]))}@{i}"  # a string is hashed once


def _slots(view: View, name: str) -> tuple[int, ...]:
    pool = view.pools.get(name)
    return () if pool is None else tuple(range(pool.first_slot, pool.first_slot + pool.slots))


def _free(view: View, facts: Facts, name: str, relation: Relation, held: Relation) -> None:
    pool = view.pools.get(name)
    if pool is None:
        return
    for page, times in Counter(pool.free_pages).items():
        slots = range(page * pool.page_size, (page + 1) * pool.page_size)
        facts[relation].update((x,) for x in slots)
        facts[held].update((("nobody", x), x) for x in slots if times > 1)


def _tree(view: View, facts: Facts) -> None:
    for n in view.nodes:
        for held, slots in (
            (full_at, n.full.device),
            (swa_at, n.swa.device if n.swa is not None else None),
            (host_at, n.full.host),
        ):
            for i, x in enumerate(slots or (), start=n.start):
                facts[held].add((cell_of(view, n.namespace, n.tokens, i), x))
        if n.full.device is not None:
            cells = (cell_of(view, n.namespace, n.tokens, i) for i in range(n.start, n.end))
            facts[resident].update((cell,) for cell in cells)


def _requests(view: View, facts: Facts) -> None:
    for r in view.requests:
        lender = {
            i: cell_of(view, r.namespace, view.nodes[at].tokens, i)
            for at in view.path(r.last_node)
            for i in range(view.nodes[at].start, view.nodes[at].end)
        }
        for i, x in enumerate(r.row):
            facts[row].add(((r.name, i), x))
            if i >= r.protected:
                facts[owned].add(((r.name, i),))
            elif i in lender:
                facts[reads].add(((r.name, i), lender[i]))
