"""Copies to host: asynchronous under write-through, at eviction under write-back (6.6, 6.4)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import forall, gains, loses, parameter
from radixproof.invariants.proofs.receipts import (
    changes_under_locks,
    device_receipt,
    nobody_above,
    unlocked,
    window,
)
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    NODE,
    copies,
    device,
    excused,
    flying,
    full,
    good,
    h,
    has,
    holds,
    host,
    k,
    marked,
    root,
    t,
    through,
    tiered,
    up,
    x,
    z,
)

n, e = (parameter(name, NODE) for name in ("n", "e"))
w = parameter("w", HOLDER)

backup = Transition(
    "backup",
    "Write-through queues the copy w of node n, whose ancestors are backed up, and locks n for it.",
    (w, n, e),
    {
        "write-through": through(),
        "host-tier": tiered(),
        "below-the-root": n.is_not(root),
        "on-device": has(full, device, n),
        "not-backed-up": ~has(full, host, n),
        "ancestors-backed-up": nobody_above(n, ~has(full, host, z)),
        "new-copy": ~flying(w) & forall(t)(~holds(t, w)),
        "window": window(n, e),
    },
    (
        gains(has(k, t, x), x.is_(n) & t.is_(host) & has(k, device, n)),
        loses(good(k, t, x), x.is_(n) & t.is_(host)),
        gains(flying(h), h.is_(w)),
        gains(copies(k, h, x), h.is_(w) & x.is_(n) & has(k, device, n)),
        gains(marked(h, x), h.is_(w) & x.is_(n)),
        loses(excused(x), x.is_(n)),
        *device_receipt(w, n, e),
    ),
)

write_back = Transition(
    "write-back",
    "Eviction under write-back copies the leaf n to host and waits for the copy.",
    (n,),
    {
        "not-write-through": ~through(),
        "host-tier": tiered(),
        "below-the-root": n.is_not(root),
        "on-device": has(full, device, n),
        "not-backed-up": ~has(full, host, n),
        "no-child-on-device": forall(x)(~(up(x, n) & x.is_not(n) & has(full, device, x))),
        "unlocked": unlocked(n, device),
    },
    (
        changes_under_locks(host, n),
        gains(has(k, t, x), x.is_(n) & t.is_(host) & has(k, device, n)),
        gains(good(k, t, x), x.is_(n) & t.is_(host) & good(k, device, n)),
    ),
)

TRANSITIONS = (backup, write_back)
