"""Flushing everything (domain.md 6.10), which leads to the initial state."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import FALSE, becomes, forall
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    anchor,
    copies,
    edge,
    excused,
    fills,
    flying,
    full,
    good,
    h,
    has,
    holds,
    k,
    live,
    lock,
    marked,
    parent,
    ran,
    reached,
    root,
    stale,
    t,
    takes,
    target,
    up,
    x,
    y,
)

tree_is_empty = (
    becomes(live(x), x.is_(root)),
    becomes(up(x, y), x.is_(root) & y.is_(root)),
    becomes(parent(x, y), FALSE),
    becomes(has(k, t, x), k.is_(full) & x.is_(root)),
    becomes(good(k, t, x), k.is_(full) & x.is_(root)),
    becomes(reached(x), FALSE),
    becomes(excused(x), FALSE),
)
"""Only the root is left, which counts as resident everywhere."""

nothing_is_held = (
    becomes(holds(t, h), FALSE),
    becomes(anchor(t, h, x), FALSE),
    becomes(takes(k, t, h), FALSE),
    becomes(edge(k, t, h, x), FALSE),
    becomes(lock(k, t, h, x), FALSE),
    becomes(stale(k, t, h, x), FALSE),
    becomes(flying(h), FALSE),
    becomes(ran(h), FALSE),
    becomes(copies(k, h, x), FALSE),
    becomes(fills(k, h, x), FALSE),
    becomes(target(h, x), FALSE),
    becomes(marked(h, x), FALSE),
)

reset = Transition(
    "reset",
    "The tree is emptied while nobody holds anything.",
    (),
    {"nothing-held": forall(t, h)(~holds(t, h)), "no-copies": forall(h)(~flying(h))},
    tree_is_empty,
)

TRANSITIONS = (reset,)
INITIAL = (*tree_is_empty, *nothing_is_held)
