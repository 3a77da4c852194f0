"""Bringing host data back to the device (domain.md 6.8.1)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Update, forall, gains, loses, parameter
from radixproof.invariants.proofs.receipts import device_receipt, host_receipt, on_path, window
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    NODE,
    device,
    fills,
    flying,
    full,
    g,
    good,
    h,
    has,
    holds,
    host,
    k,
    live,
    mamba,
    root,
    swa,
    t,
    target,
    tiered,
    up,
    x,
)

n, e = (parameter(name, NODE) for name in ("n", "e"))
q = parameter("q", HOLDER)

arrives = (
    has(k, host, x)
    & ~has(k, device, x)
    & ((k.is_(full) & up(n, x)) | (k.is_(swa) & on_path(n, e, x)) | (k.is_(mamba) & x.is_(n)))
)
"""Host-only values of k that the load brings: FULL of the path, SWA of the window, n's state."""


def _receipts() -> tuple[Update, ...]:
    """Both receipts of the load, as one update of each relation."""
    on_device, on_host = device_receipt(q, n, e), host_receipt(q, n, e)
    return tuple(
        Update(one.relation, one.variables, one.formula | other.formula)
        for one, other in zip(on_device, on_host, strict=True)
    )


load_back = Transition(
    "load-back",
    "Load q queues the copies that make n usable from the device, and locks both ends.",
    (q, n, e),
    {
        "host-tier": tiered(),
        "in-tree": live(n),
        "below-the-root": n.is_not(root),
        "new-load": ~flying(q) & forall(t)(~holds(t, q)),
        "not-loading": forall(g)(~target(g, n)),
        "window": window(n, e),
    },
    (
        gains(has(k, t, x), t.is_(device) & arrives),
        loses(good(k, t, x), t.is_(device) & arrives),
        gains(flying(h), h.is_(q)),
        gains(fills(k, h, x), h.is_(q) & arrives),
        gains(target(h, x), h.is_(q) & x.is_(n)),
        *_receipts(),
    ),
)

TRANSITIONS = (load_back,)
