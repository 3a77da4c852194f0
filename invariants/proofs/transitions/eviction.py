"""Memory pressure on either tier (domain.md 5.5, 5.6, 6.4, 6.5)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Term, Update, forall, loses, parameter
from radixproof.invariants.proofs.receipts import changes_under_locks, unlocked
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    COMPONENT,
    NODE,
    device,
    excused,
    full,
    good,
    has,
    host,
    k,
    live,
    parent,
    reached,
    root,
    t,
    through,
    tiered,
    up,
    x,
    y,
)

n = parameter("n", NODE)
kind = parameter("kind", COMPONENT)


def removes(node: Term) -> tuple[Update, ...]:
    """The node leaves the tree with all its data. Who points to it goes on pointing."""
    return (
        loses(live(x), x.is_(node)),
        loses(up(x, y), x.is_(node) | y.is_(node)),
        loses(parent(x, y), x.is_(node)),
        loses(has(k, t, x), x.is_(node)),
        loses(good(k, t, x), x.is_(node)),
        loses(reached(x), x.is_(node)),
        loses(excused(x), x.is_(node)),
    )


no_child_on_device = forall(x)(~(up(x, n) & x.is_not(n) & has(full, device, x)))

demote = Transition(
    "demote",
    "Device eviction of the backed-up leaf n: its device data goes, it stays, host-only.",
    (n,),
    {
        "below-the-root": n.is_not(root),
        "on-device": has(full, device, n),
        "backed-up": has(full, host, n),
        "no-child-on-device": no_child_on_device,
        "unlocked": unlocked(n, device),
    },
    (
        loses(has(k, t, x), x.is_(n) & t.is_(device)),
        loses(good(k, t, x), x.is_(n) & t.is_(device)),
        changes_under_locks(device, n),
    ),
)

delete = Transition(
    "delete",
    "Device eviction of the unbacked leaf n, unless the policy is write-back: it is gone.",
    (n,),
    {
        "below-the-root": n.is_not(root),
        "on-device": has(full, device, n),
        "not-backed-up": ~has(full, host, n),
        "no-child-on-device": no_child_on_device,
        "unlocked": unlocked(n, device),
        "policy-deletes": through() | ~tiered(),
    },
    (*removes(n), changes_under_locks(device, n)),
)

tombstone = Transition(
    "tombstone",
    "Device eviction of an auxiliary component's value of n, which keeps its FULL data.",
    (kind, n),
    {
        "auxiliary": kind.is_not(full),
        "on-device": has(kind, device, n),
        "unlocked": unlocked(n, device, kind),
    },
    (
        loses(has(k, t, x), x.is_(n) & k.is_(kind) & t.is_(device)),
        loses(good(k, t, x), x.is_(n) & k.is_(kind) & t.is_(device)),
        changes_under_locks(device, n, kind),
    ),
)

evict_host = Transition(
    "evict-host",
    "Host eviction of the host-only leaf n: the last copy of its prefix is gone.",
    (n,),
    {
        "in-tree": live(n),
        "evicted": ~has(full, device, n),
        "childless": forall(x)(~(up(x, n) & x.is_not(n))),
        "unlocked": unlocked(n),
    },
    (*removes(n), changes_under_locks(host, n)),
)

drop_host = Transition(
    "drop-host",
    "Host eviction of an auxiliary value of n that is on host only.",
    (kind, n),
    {
        "auxiliary": kind.is_not(full),
        "host-only": has(kind, host, n) & ~has(kind, device, n),
        "unlocked": unlocked(n, host, kind),
    },
    (
        loses(has(k, t, x), x.is_(n) & k.is_(kind) & t.is_(host)),
        loses(good(k, t, x), x.is_(n) & k.is_(kind) & t.is_(host)),
        changes_under_locks(host, n, kind),
    ),
)

TRANSITIONS = (demote, delete, tombstone, evict_host, drop_host)
