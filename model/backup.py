"""Copying nodes to the host tier (domain.md 6.2.8, 6.6)."""

from __future__ import annotations

from radixproof.model.config import FULL
from radixproof.model.host_eviction import evict_host
from radixproof.model.locking import lock
from radixproof.model.state import Receipt, State, Submission, Transfer
from radixproof.model.transfers import drain_writes
from radixproof.model.tree import Page, Slots


def count_hit(state: State, node: Page, chunked: bool) -> None:
    """An insert went over a node; at the threshold the node is backed up."""
    if FULL not in node.held or chunked or not state.config.counts_hits:
        return
    node.node.hit += 1
    if (
        state.config.has_host
        and "host_full" not in node.held
        and node.node.hit >= state.config.write_through_threshold
    ):
        write_backup(state, node)


def write_backup(state: State, node: Page) -> bool:
    """Back up a node, its unbacked ancestors first (upstream PR 25065).

    From the top, stopping at the first failure: a host copy without its prefix could never be
    loaded back (I-1). Ancestors that were completed stay backed up.
    """
    if state.rules.backup_in_split:
        parent = state.tree.parent(node)
        rooted = parent is state.tree.root or "host_full" in parent.held
        return rooted and back_up_one(state, node)
    return all(back_up_one(state, n) for n in unbacked_path(state, node))


def unbacked_path(state: State, node: Page) -> list[Page]:
    """The node and its unbacked ancestors, root first."""
    return [n for n in state.tree.path(node) if "host_full" not in n.held]


def back_up_split(state: State, upper: Page) -> None:
    """The alternative rule: a split backs up its upper part (alternatives.py)."""
    if state.config.writes_through and FULL in upper.held and "host_full" not in upper.held:
        write_backup(state, upper)


def back_up_one(state: State, node: Page) -> bool:
    """Host slots, the queued copy, the commit and the lock of one node; False: refused."""
    host = allocate_host(state, node)
    state.tally["backups refused"] += host is None
    if host is None:
        return False
    state.tally["tokens written"] += state.tree.length(node)
    tree = state.tree
    moves = {c: (tree.held(node, c) or (), slots) for c, slots in host.items()}
    for component, slots in host.items():
        tree.hold(node, f"host_{component}", slots)
    receipts = lock_source(state, node)
    id = node.node.id
    node.node.pending = id
    transfer = Transfer(id, node, moves, tree.pages(node), receipts)
    state.writes.append(Submission([transfer]))
    return True


def lock_source(state: State, node: Page) -> list[Receipt]:
    """What a copy reads stays until it is acknowledged; write-back waits for it instead."""
    return [] if state.config.writes_back else [lock(state, node, "write")]


def write_back(state: State, leaf: Page) -> bool:
    """Copy a leaf to the host and wait until the copy has run; False: refused (6.4).

    Its ancestors need no host copy (6.6, mode back).
    """
    chain = unbacked_path(state, leaf) if state.rules.path_under_write_back else [leaf]
    copied = all(back_up_one(state, n) for n in chain)
    drain_writes(state)
    return copied


def allocate_host(state: State, node: Page) -> dict[str, Slots] | None:
    """Host slots for all that the node has on device, evicting once where short; or nothing.

    FULL is evicted for before it is attempted, the others after a failed attempt.
    """
    memory, length = state.memory, state.tree.length(node)
    missing = length - memory.available("host_full")
    if missing > 0 and evict_host(state, missing, FULL) < missing:
        return None
    taken: dict[str, Slots] = {}
    for component in state.config.components:
        count = len(state.tree.held(node, component) or ())
        if not count:
            continue
        slots = memory.attempt(f"host_{component}", count)
        if slots is None and component != FULL:
            evict_host(state, count, component)
            slots = memory.attempt(f"host_{component}", count)
        if slots is None:
            for component, slots in taken.items():
                memory.free(f"host_{component}", slots)
            return None
        taken[component] = slots
    return taken
