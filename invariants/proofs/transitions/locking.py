"""Requests and clients take locks and give them back (domain.md 5.7, 5.8)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import loses, parameter
from radixproof.invariants.proofs.receipts import device_receipt, host_receipt, returned, window
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    NODE,
    TIER,
    device,
    edge,
    flying,
    full,
    h,
    has,
    holds,
    host,
    k,
    live,
    lock,
    root,
    stale,
    t,
    takes,
    x,
)

q = parameter("q", HOLDER)
n, e = (parameter(name, NODE) for name in ("n", "e"))
tier = parameter("tier", TIER)

lock_device = Transition(
    "lock",
    "Holder q takes a device lock on n; on the root it covers nothing.",
    (q, n, e),
    {
        "in-tree": live(n),
        "no-copy": ~flying(q),
        "holds-none": ~holds(device, q),
        "window": window(n, e),
    },
    device_receipt(q, n, e),
)

lock_host = Transition(
    "host-lock",
    "Holder q takes a host lock on the backed-up node n.",
    (q, n, e),
    {
        "in-tree": live(n),
        "below-the-root": n.is_not(root),
        "backed-up": has(full, host, n),
        "no-copy": ~flying(q),
        "holds-none": ~holds(host, q),
        "window": window(n, e),
    },
    host_receipt(q, n, e),
)

unlock = Transition(
    "unlock",
    "Holder q gives back its receipt of one tier.",
    (tier, q),
    {"no-copy": ~flying(q)},
    returned(h.is_(q) & t.is_(tier)),
)

release_window = Transition(
    "release-window",
    "A request's receipt keeps FULL and gives back the window, and the state with it.",
    (q,),
    {"no-copy": ~flying(q)},
    tuple(
        loses(atom, h.is_(q) & t.is_(device) & k.is_not(full))
        for atom in (takes(k, t, h), edge(k, t, h, x), lock(k, t, h, x), stale(k, t, h, x))
    ),
)

TRANSITIONS = (lock_device, lock_host, unlock, release_window)
