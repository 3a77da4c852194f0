"""Bringing host data back to the device (domain.md 6.8.1)."""

from __future__ import annotations

from radixproof.model.config import FULL, SWA
from radixproof.model.errors import ErrorKind, IllegalUse
from radixproof.model.eviction import evict
from radixproof.model.locking import host_lock, lock, protectable, unlock
from radixproof.model.matching import last_valid, swa_host_only, window_nodes
from radixproof.model.state import State, Transfer
from radixproof.model.tree import Page, Slots


def require_loadable(state: State, target: Page) -> None:
    """The target must be a valid best match: everything below it is found on device or host."""
    if last_valid(state, state.tree.path(target), ["", "host_"]) is not target:
        raise IllegalUse(ErrorKind.ARGUMENT, "the node is no valid best match")


def load_back(state: State, target: Page, mem_quota: int | None = None) -> Transfer | None:
    """Queue the copies that make ``target`` usable from the device; ``None``: refused."""
    if not state.config.has_host or is_loading(state, target):
        return None
    delta = protectable(state, target)
    receipts = [lock(state, target, "load"), host_lock(state, target, "load")]
    evicted = [n for n in state.tree.path(target) if FULL not in n.held]
    aux = _host_only_window(state, target)
    slots = _allocate(state, evicted, aux, mem_quota, delta)
    if slots is None:
        for receipt in receipts:
            unlock(state, receipt)
        return None
    full, swa = slots
    moves = {
        FULL: (full, _host_slots(state, evicted, "host_full")),
        SWA: (swa, _host_slots(state, aux, "host_swa")),
    }
    pages = [
        page
        for n in {**dict.fromkeys(evicted), **dict.fromkeys(aux)}
        for page in state.tree.pages(n)
    ]
    transfer = Transfer(target.node.id, target, moves, pages, receipts)
    state.load_queue.append(transfer)
    _commit(state, evicted, full, aux, swa)
    return transfer


def is_loading(state: State, target: Page) -> bool:
    """One pending load a target (I-33)."""
    submitted = [t for s in state.loads for t in s.transfers]
    return any(t.target is target for t in state.load_queue + submitted)


def _host_only_window(state: State, target: Page) -> list[Page]:
    """Nodes of the window whose SWA is on host only, root to leaf."""
    if not state.config.has_swa:
        return []
    return [n for n in reversed(window_nodes(state, target)) if swa_host_only(n)]


def _allocate(
    state: State, evicted: list[Page], aux: list[Page], mem_quota: int | None, delta: int
) -> tuple[Slots, Slots] | None:
    """Device slots for FULL and SWA, after the refusals of step 3; evicting where short."""
    memory, tree = state.memory, state.tree
    need = sum(tree.length(n) for n in evicted)
    need_swa = sum(tree.length(n) for n in aux)
    if not need and not need_swa:
        return None
    if need < state.config.load_back_threshold and not need_swa:
        return None
    if mem_quota is not None and need + delta > mem_quota:
        return None
    if memory.available(FULL) < need:
        evict(state, {FULL: need - memory.available(FULL)})
        if memory.available(FULL) < need:
            return None
    full = memory.attempt(FULL, need)
    if full is None:
        return None
    swa = memory.attempt(SWA, need_swa)
    if swa is None:
        evict(state, {SWA: need_swa})
        swa = memory.attempt(SWA, need_swa)
    if swa is None:
        memory.free(FULL, full)
        return None
    return full, swa


def _commit(state: State, evicted: list[Page], full: Slots, aux: list[Page], swa: Slots) -> None:
    """The nodes are device-resident from now on, though the data arrives later."""
    tree = state.tree
    for node in evicted:
        length = tree.length(node)
        tree.hold(node, FULL, full[:length])
        full = full[length:]
    for node in aux:
        length = tree.length(node)
        tree.hold(node, SWA, swa[:length])
        state.memory.map(tree.held(node, FULL) or (), swa[:length])
        node.node.recency[SWA] = tree.front()
        swa = swa[length:]


def _host_slots(state: State, nodes: list[Page], pool: str) -> Slots:
    return tuple(s for n in nodes for s in state.tree.held(n, pool) or ())
