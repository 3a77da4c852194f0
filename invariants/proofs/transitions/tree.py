"""Nodes come and are parted: a new leaf, a split, a leaf from storage (domain.md 5.4, 6.2.6)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Formula, Term, Update, becomes, gains, parameter
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    NODE,
    copies,
    device,
    edge,
    excused,
    fills,
    full,
    good,
    h,
    has,
    host,
    k,
    live,
    lock,
    mamba,
    marked,
    parent,
    reached,
    root,
    stale,
    t,
    through,
    tiered,
    up,
    x,
    y,
)

p, n, c, m = (parameter(name, NODE) for name in ("p", "n", "c", "m"))


def hangs_below(new: Term, above: Term) -> tuple[Update, ...]:
    """A new leaf below a node."""
    return (
        gains(live(x), x.is_(new)),
        gains(up(x, y), x.is_(new) & (y.is_(new) | up(above, y))),
        gains(parent(x, y), x.is_(new) & y.is_(above)),
    )


add_leaf = Transition(
    "add-leaf",
    "An insert hands the rest of its key over as a new leaf n below p.",
    (p, n),
    {
        "parent-in-tree": live(p),
        "parent-on-device": has(full, device, p),
        "new": ~live(n),
    },
    (
        *hangs_below(n, p),
        gains(has(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
        gains(good(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
    ),
)

attach = Transition(
    "attach",
    "A prefetch from storage puts a host-only leaf n below p.",
    (p, n),
    {
        "host-tier": tiered(),
        "parent-in-tree": live(p),
        "parent-backed-up": through() >> has(full, host, p),
        "new": ~live(n),
    },
    (
        *hangs_below(n, p),
        gains(has(k, t, x), x.is_(n) & k.is_(full) & t.is_(host)),
        gains(good(k, t, x), x.is_(n) & k.is_(full) & t.is_(host)),
    ),
)


def _both_parts(atom: Formula, lower: Formula) -> Update:
    """What holds of the lower part holds of the upper one, too; a MAMBA state stays below."""
    return gains(atom, x.is_(m) & lower)


split = Transition(
    "split",
    "Node c is parted: m, new, takes the upper part of its key and what belongs to it.",
    (c, m),
    {"in-tree": live(c), "below-the-root": c.is_not(root), "new": ~live(m)},
    (
        gains(live(x), x.is_(m)),
        gains(
            up(x, y),
            (x.is_(m) & y.is_(m)) | (x.is_(m) & y.is_not(c) & up(c, y)) | (y.is_(m) & up(x, c)),
        ),
        becomes(
            parent(x, y),
            (parent(x, y) & x.is_not(c)) | (x.is_(c) & y.is_(m)) | (x.is_(m) & parent(c, y)),
        ),
        _both_parts(has(k, t, x), k.is_not(mamba) & has(k, t, c)),
        _both_parts(good(k, t, x), k.is_not(mamba) & good(k, t, c)),
        _both_parts(lock(k, t, h, x), k.is_not(mamba) & lock(k, t, h, c)),
        _both_parts(stale(k, t, h, x), k.is_not(mamba) & stale(k, t, h, c)),
        becomes(
            edge(k, t, h, x),
            (edge(k, t, h, x) & (x.is_not(c) | k.is_(mamba)))
            | (x.is_(m) & k.is_not(mamba) & edge(k, t, h, c)),
        ),
        _both_parts(copies(k, h, x), k.is_not(mamba) & copies(k, h, c)),
        _both_parts(fills(k, h, x), k.is_not(mamba) & fills(k, h, c)),
        _both_parts(marked(h, x), marked(h, c)),
        _both_parts(reached(x), reached(c)),
        _both_parts(excused(x), excused(c)),
    ),
)

TRANSITIONS = (add_leaf, attach, split)
