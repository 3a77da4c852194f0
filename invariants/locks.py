"""Locks are counts of holders (domain.md 7.2)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_MAMBA, WITH_SWA, state_invariant
from radixproof.invariants.coverage import lock_sums
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import FULL
from radixproof.model.options import HIDES_LOCKS
from radixproof.model.snapshot import ROOT


@state_invariant(
    "I-10",
    formula="all n, c: n.c.lock >= 0 and n.c.hlock >= 0",
    without_it="A negative count makes the next holder's lock invisible.",
    taught_by="M-10",
)
def lock_counts_are_not_negative(view: View) -> Iterator[Fault]:
    """No lock count is below zero."""
    for i, n in enumerate(view.nodes):
        for p in n.placements:
            if p.lock < 0 or p.host_lock < 0:
                yield Fault(f"{view.name(i)} has a negative lock count", (i,))


@state_invariant(
    "I-11",
    formula="all n, c: n.c.lock = |{live device receipts whose segment for c contains n}|",
    without_it="One release too few pins memory for ever, one too many frees what a request reads.",
    taught_by="M-8, M-10, M-11",
)
def lock_counts_are_sums_of_receipts(view: View) -> Iterator[Fault]:
    """A node's device lock counts are the numbers of live receipts that cover it."""
    sums = lock_sums(view)
    for c in view.config.components:
        if c != FULL and HIDES_LOCKS in view.options:
            continue
        counts = sums[c, "device"]
        for i, n in enumerate(view.nodes):
            p = n.placement(c)
            if p is not None and p.lock != counts[i]:
                yield Fault(f"{view.name(i)}: {c} lock {p.lock}, receipts {counts[i]}", (i,))


@state_invariant(
    "I-14",
    formula="device receipt of a request: every n on its path has n.FULL.lock > 0; if it covers"
    " SWA, every n with SWA on device within W of its end has n.SWA.lock > 0",
    without_it="Whoever released one lock too many lets the next eviction take what is being read.",
    taught_by="SGLang 36848, M-10",
)
def a_running_request_holds_its_prefix(view: View) -> Iterator[Fault]:
    """What a running request reads of the tree is locked: its path, and the SWA of its window."""
    # True of skip-set locks, too: a request locks where a match is valid, which is where nothing
    # of its window is missing, and so it skips nothing of it.
    for r in view.receipts:
        if r.owner != "request" or r.tier != "device" or r.anchor < 0 or r.full_start is None:
            continue
        end = view.nodes[r.anchor].end
        for i in view.path(r.anchor):
            n = view.nodes[i]
            if n.full.device is not None and not n.full.lock:
                yield Fault(f"{view.name(i)} is under request {r.name} and not locked", (i,))
            read = r.swa_start is not None and n.end > end - view.config.sliding_window
            if read and n.swa is not None and n.swa.device is not None and not n.swa.lock:
                yield Fault(f"the SWA of {view.name(i)} is read by {r.name} and not locked", (i,))


@state_invariant(
    "I-11",
    formula="all n, c: n.c.hlock = |{live host receipts whose segment for c contains n}|",
    without_it="Host data under a copy is reclaimed, or never again.",
    taught_by="M-35",
)
def host_lock_counts_are_sums_of_receipts(view: View) -> Iterator[Fault]:
    """A node's host lock counts are the numbers of live host receipts that cover it."""
    sums = lock_sums(view)
    for c in view.config.components:
        counts = sums[c, "host"]
        for i, n in enumerate(view.nodes):
            p = n.placement(c)
            if p is not None and p.host_lock != counts[i]:
                yield Fault(f"{view.name(i)}: {c} host lock {p.host_lock}, not {counts[i]}", (i,))


@state_invariant(
    "I-12",
    formula="all n: n.FULL.lock >= sum of m.FULL.lock over children m",
    without_it="A parent could be evicted from under a locked child.",
    taught_by="M-8",
)
def full_locks_are_upward_closed(view: View) -> Iterator[Fault]:
    """A node's FULL lock count is at least the sum of its children's."""
    nodes = view.nodes
    below = [0] * len(nodes)
    for n in nodes:
        if 0 <= n.parent < len(nodes):
            below[n.parent] += n.full.lock
    for i, n in enumerate(nodes):
        if n.full.lock < below[i]:
            yield Fault(f"{view.name(i)}: FULL lock {n.full.lock}, children {below[i]}", (i,))


@state_invariant(
    "I-13",
    formula="all n: n.SWA.lock <= n.FULL.lock",
    without_it="Eviction tests FULL last and relies on it to speak for all components.",
    taught_by="M-11, M-12",
    holds_under=WITH_SWA,
)
def swa_locks_never_exceed_full_locks(view: View) -> Iterator[Fault]:
    """Whoever locks a node's SWA data locks its FULL data."""
    for i, n in enumerate(view.nodes):
        if n.swa is not None and n.swa.lock > n.full.lock:
            yield Fault(f"{view.name(i)}: SWA lock {n.swa.lock} > FULL lock {n.full.lock}", (i,))


@state_invariant(
    "I-13",
    formula="all n: n.MAMBA.lock <= n.SWA.lock (without SWA: <= n.FULL.lock); host locks alike",
    without_it="Evicting a window takes the state along (5.6): it would meet a locked one (U-10).",
    taught_by="U-10 of domain.md 12",
    holds_under=WITH_MAMBA,
)
def state_locks_never_exceed_window_locks(view: View) -> Iterator[Fault]:
    """Whoever locks a state locks the window that it needs, on either tier."""
    for i, n in enumerate(view.nodes):
        wider = n.swa or n.full
        if n.mamba is None:
            continue
        if n.mamba.lock > wider.lock or (n.swa and n.mamba.host_lock > wider.host_lock):
            yield Fault(f"{view.name(i)}: its state is locked more often than its window", (i,))


@state_invariant(
    "I-47",
    formula="all receipts and requests r: r.anchor in N or the root",
    without_it="A release would walk a node that is no longer in the tree.",
    taught_by="M-42",
)
def receipts_refer_to_nodes_in_the_tree(view: View) -> Iterator[Fault]:
    """Every live receipt's anchor, and every request's last node, is in the tree.

    Of requests that wait, too.
    """
    count = len(view.nodes)
    for r in view.receipts:
        if not ROOT <= r.anchor < count:
            yield Fault(f"the {r.tier} receipt of {r.owner} {r.name} refers to a deleted node")
    last = [(r.name, r.last_node) for r in view.requests]
    last += [(c.name, c.last_node) for c in view.candidates]
    last += [(f"of session {s.name}", s.last_node) for s in view.sessions]
    for name, node in last:
        if not ROOT <= node < count:
            yield Fault(f"request {name} refers to a deleted node")
