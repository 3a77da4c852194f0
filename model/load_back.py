"""Bringing host data back to the device (domain.md 6.8.1)."""

from __future__ import annotations

from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.errors import ErrorKind, IllegalUse
from radixproof.model.events import emit_stored
from radixproof.model.eviction import evict
from radixproof.model.locking import host_lock, lock, protectable, unlock
from radixproof.model.matching import host_only, last_valid, window_nodes
from radixproof.model.state import State, Transfer
from radixproof.model.tree import Page, Slots


def require_loadable(state: State, target: Page) -> None:
    """The target must be a valid best match: everything below it is found on device or host."""
    if last_valid(state, state.tree.path(target), ["", "host_"]) is not target:
        raise IllegalUse(ErrorKind.ARGUMENT, "the node is no valid best match")


def load_back(
    state: State, target: Page, mem_quota: int | None = None, state_slot: int | None = None
) -> Transfer | None:
    """Queue the copies that make ``target`` usable from the device; ``None``: refused.

    ``state_slot``: a request's own; a state that is loaded is copied there as well (MAMBA).
    """
    if not state.config.has_host or is_loading(state, target):
        return None
    delta = protectable(state, target)
    receipts = [lock(state, target, "load"), host_lock(state, target, "load")]
    wanted = _wanted(state, target)
    slots = _allocate(state, wanted, mem_quota, delta)
    if slots is None:
        for receipt in receipts:
            unlock(state, receipt)
        return None
    moves = {c: (slots[c], _host_slots(state, nodes, c)) for c, nodes in wanted.items()}
    if wanted[MAMBA] and state_slot is not None:
        device, host = moves[MAMBA]
        moves[MAMBA] = (*device, state_slot), host * 2
    nodes = dict.fromkeys(n for c in wanted for n in wanted[c])
    pages = [page for n in nodes for page in state.tree.pages(n)]
    transfer = Transfer(target.node.id, target, moves, pages, receipts)
    state.load_queue.append(transfer)
    for component, bearers in wanted.items():
        _commit(state, component, bearers, slots[component])
    emit_stored(state, GPU, (p for n in wanted[FULL] for p in state.tree.pages(n)))
    return transfer


def is_loading(state: State, target: Page) -> bool:
    """One pending load a target (I-33)."""
    submitted = [t for s in state.loads for t in s.transfers]
    return any(t.target is target for t in state.load_queue + submitted)


def _wanted(state: State, target: Page) -> dict[str, list[Page]]:
    """Component -> nodes that must get device data of it, root to leaf (6.8.1 step 2)."""
    window = window_nodes(state, target) if state.config.has_swa else []
    return {
        FULL: [n for n in state.tree.path(target) if FULL not in n.held],
        SWA: [n for n in reversed(window) if host_only(n, SWA)],
        MAMBA: [target] if state.config.has_mamba and host_only(target, MAMBA) else [],
    }


def _allocate(
    state: State, wanted: dict[str, list[Page]], mem_quota: int | None, delta: int
) -> dict[str, Slots] | None:
    """Device slots per component, after the refusals of step 3; evicting where short."""
    memory = state.memory
    need = {c: len(_host_slots(state, nodes, c)) for c, nodes in wanted.items()}
    only_full = not need[SWA] and not need[MAMBA]
    if only_full and (not need[FULL] or need[FULL] < state.config.load_back_threshold):
        return None
    if mem_quota is not None and need[FULL] + delta > mem_quota:
        return None
    if memory.available(FULL) < need[FULL]:
        evict(state, {FULL: need[FULL] - memory.available(FULL)})
        if memory.available(FULL) < need[FULL]:
            return None
    taken: dict[str, Slots] = {}
    for component, count in need.items():
        slots = memory.attempt(component, count)
        if slots is None and component != FULL:
            evict(state, {component: count})
            slots = memory.attempt(component, count)
        if slots is None:
            for component, slots in taken.items():
                memory.free(component, slots)
            return None
        taken[component] = slots
    return taken


def _commit(state: State, component: str, nodes: list[Page], slots: Slots) -> None:
    """The nodes are device-resident from now on, though the data arrives later."""
    tree = state.tree
    for node in nodes:
        length = len(tree.held(node, f"host_{component}") or ())
        tree.hold(node, component, slots[:length])
        if component == SWA:
            state.memory.map(tree.held(node, FULL) or (), slots[:length])
        if component != FULL:
            node.node.recency[component] = tree.front()
        slots = slots[length:]


def _host_slots(state: State, nodes: list[Page], component: str) -> Slots:
    return tuple(s for n in nodes for s in state.tree.held(n, f"host_{component}") or ())
