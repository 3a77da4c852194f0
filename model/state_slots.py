"""The state of a request (MAMBA): a slot of its own, never one of the tree's (6.1, 6.9)."""

from __future__ import annotations

from radixproof.model.config import MAMBA
from radixproof.model.eviction import evict
from radixproof.model.locking import host_lock, lock, unlock
from radixproof.model.payload import NEVER_WRITTEN
from radixproof.model.state import Request, State
from radixproof.model.transfers import unfinished, wait_for_loads
from radixproof.model.tree import Page


def take_state_slot(state: State, matched: Page) -> int | None:
    """One free state slot, evicting one state if there is none.

    What was matched is pinned on both tiers meanwhile: the eviction must not take it.
    """
    slots = state.memory.attempt(MAMBA, 1)
    if slots is None:
        pins = [lock(state, matched, "request"), host_lock(state, matched, "request")]
        evict(state, {MAMBA: 1})
        for pin in pins:
            unlock(state, pin)
        slots = state.memory.attempt(MAMBA, 1)
    return None if slots is None else slots[0]


def prepare_state(state: State, request: Request, node: Page) -> None:
    """Copy-on-write: the batch will copy the state at the end of the usable prefix, or zero it.

    The source is that of the prefix the request really goes on from, not of its best match (U-8).
    """
    source = state.tree.held(node, MAMBA)
    request.state_source = source[0] if source else None
    request.zero_state = source is None


def fill_state(state: State, request: Request) -> None:
    """What the batch does to a request's state slot before its first forward pass."""
    if request.state_slot is None:
        return
    if request.state_source is not None:
        state.memory.write_state(request.state_slot, state.memory.state(request.state_source))
    elif request.zero_state:
        state.memory.write_state(request.state_slot, NEVER_WRITTEN)
    request.state_source, request.zero_state = None, False


def wait_for_own_state(state: State, request: Request) -> None:
    """A slot that a load will write is not given away before the load has run."""
    waiting = [t for s in unfinished(state.loads) for t in s.transfers] + state.load_queue
    if any(request.state_slot in t.moves[MAMBA][0] for t in waiting):
        wait_for_loads(state)


def dispose_of_state(state: State, slot: int | None) -> None:
    if slot is not None:
        state.memory.free(MAMBA, (slot,))
