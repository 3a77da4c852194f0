"""An insert walks over nodes that are there already (domain.md 6.2.3, 6.2.4, 6.2.8)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import gains, parameter
from radixproof.invariants.proofs.receipts import changes_under_locks, nobody_above, unlocked
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    COMPONENT,
    NODE,
    TIER,
    device,
    excused,
    full,
    good,
    has,
    host,
    k,
    live,
    reached,
    root,
    short,
    t,
    through,
    tiered,
    up,
    uses,
    x,
    z,
)

n, a = (parameter(name, NODE) for name in ("n", "a"))
kind, tier = parameter("kind", COMPONENT), parameter("tier", TIER)

revive = Transition(
    "revive",
    "The incoming slots make the host-only node n device-resident again.",
    (n,),
    {
        "in-tree": live(n),
        "evicted": ~has(full, device, n),
        "parent-on-device": nobody_above(n, ~has(full, device, z)),
    },
    (
        changes_under_locks(device, n, full),
        gains(has(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
        gains(good(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
    ),
)

fill = Transition(
    "fill",
    "Node n gets a value of an auxiliary component: from an insert, or on host from storage.",
    (kind, tier, n),
    {
        "configured": uses(kind),
        "auxiliary": kind.is_not(full),
        "below-the-root": n.is_not(root),
        "absent": ~has(kind, tier, n),
        "full-data-there": has(full, tier, n),
    },
    (
        changes_under_locks(tier, n, kind),
        gains(has(k, t, x), x.is_(n) & k.is_(kind) & t.is_(tier)),
        gains(good(k, t, x), x.is_(n) & k.is_(kind) & t.is_(tier)),
    ),
)

replace = Transition(
    "replace",
    "An SWA tombstone adopts the incoming FULL slots and gives back its own.",
    (n,),
    {
        "below-the-root": n.is_not(root),
        "on-device": has(full, device, n),
        "full-unlocked": unlocked(n, device, full),
    },
    (
        changes_under_locks(device, n, full),
        gains(has(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
        gains(good(k, t, x), x.is_(n) & k.is_(full) & t.is_(device)),
    ),
)

hit = Transition(
    "hit",
    "The hit count of n reaches the threshold, and n is backed up.",
    (n,),
    {
        "in-tree": live(n),
        "below-the-root": n.is_not(root),
        "write-through": through(),
        "host-tier": tiered(),
        "backed-up": has(full, host, n),
    },
    (gains(reached(x), x.is_(n)),),
)

hit_refused = Transition(
    "hit-refused",
    "It reaches the threshold, but the host has no room for a, its topmost unbacked ancestor.",
    (n, a),
    {
        "in-tree": live(n),
        "write-through": through(),
        "host-tier": tiered(),
        "not-backed-up": ~has(full, host, n),
        "on-its-path": up(n, a),
        "ancestor-not-backed-up": ~has(full, host, a),
        "topmost": nobody_above(a, ~has(full, host, z)),
        "no-host-room": short(a),
    },
    (gains(reached(x), x.is_(n)), gains(excused(x), x.is_(n))),
)

TRANSITIONS = (revive, fill, replace, hit, hit_refused)
