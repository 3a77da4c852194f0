"""Nothing is left over when nothing runs (domain.md 7.8)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.options import WAITS_UNLOCKED


@state_invariant(
    "I-44",
    formula="no requests, transfers, receipts, KV of sessions => all locks 0, no pending mark,"
    " protected = 0, and free + tree = total in every pool",
    without_it="A leak a step is an outage a week.",
    taught_by="M-8, M-10, M-31",
)
def nothing_is_held_when_idle(view: View) -> Iterator[Fault]:
    """Without requests, receipts and transfers nothing is locked, marked or missing."""
    waiting = () if WAITS_UNLOCKED in view.options else view.candidates
    if view.requests or waiting or view.writes or view.loads or view.receipts:
        return
    if any(s.row for s in view.sessions):
        return
    if view.storage is not None and (view.storage.work or view.storage.releasing):
        return
    tree = dict.fromkeys(view.pools, 0)
    for i, n in enumerate(view.nodes):
        if n.pending is not None:
            yield Fault(f"{view.name(i)} is marked pending by {n.pending}", (i,))
        for component in view.config.components:
            p = n.placement(component)
            if p is None:
                continue
            if p.lock or p.host_lock:
                yield Fault(f"{view.name(i)} is locked by nobody", (i,))
            tree[component] += len(p.device or ())
            if view.config.has_host:
                tree[f"host_{component}"] += len(p.host or ())
    if any(view.protected.values()):
        yield Fault(f"protected sizes are {dict(view.protected)} with nobody to protect")
    for name, pool in view.pools.items():
        if pool.free_slots + tree[name] != pool.slots:
            yield Fault(
                f"{name}: {pool.free_slots} free + {tree[name]} in the tree != {pool.slots}"
            )
