"""Running requests: prefill, decode, the sliding window, and the end (domain.md 6.9)."""

from __future__ import annotations

from radixproof.model.admission import prepare
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.eviction import evict
from radixproof.model.insertion import Inserted, Insertion, insert
from radixproof.model.keys import ceil_page, floor_page
from radixproof.model.locking import lock, release_window, unlock
from radixproof.model.matching import MatchResult, match
from radixproof.model.payload import advance_state, kv_tags, rewritten_from
from radixproof.model.state import Request, State
from radixproof.model.state_slots import dispose_of_state, fill_state, wait_for_own_state
from radixproof.model.transfers import wait_for_loads
from radixproof.model.units import units
from radixproof.model.windows import slid_frontier


def make_room(state: State, request: Request, tokens: int) -> bool:
    """Allocate whole pages for the next ``tokens``, evicting where a pool is short."""
    need = missing_slots(state, request, tokens)
    if need <= 0:
        return True
    evict_shortage(state, need, states=0)
    slots = state.memory.attempt_composite(need)
    if slots is None:
        return False
    request.row.extend(slots)
    return True


def make_room_for_chunk(state: State, request: Request, tokens: int) -> tuple[bool, int | None]:
    """Room for a chunk, and (MAMBA) a slot for the state that the tree will get."""
    if not state.config.has_mamba or state.config.disable:
        return make_room(state, request, tokens), None
    need = max(0, missing_slots(state, request, tokens))
    evict_shortage(state, need, states=1)
    taken = state.memory.attempt_with_state(need)
    if taken is None:
        return False, None
    slots, fork = taken
    request.row.extend(slots)
    return True, fork


def missing_slots(state: State, request: Request, tokens: int) -> int:
    return ceil_page(request.committed + tokens, state.config.page_size) - len(request.row)


def evict_shortage(state: State, tokens: int, states: int) -> None:
    """One eviction call for all that is short."""
    need = {FULL: tokens, SWA: tokens, MAMBA: states}
    short = {
        c: max(0, need[c] - state.memory.available(c)) for c in state.config.components if need[c]
    }
    if any(short.values()):
        evict(state, short)


def compute(state: State, request: Request, tokens: int) -> None:
    """The forward pass writes the KV of the next ``tokens`` and advances the state."""
    begin, end = request.committed, request.committed + tokens
    bigram = state.config.bigram
    tags = kv_tags(request.namespace, request.tokens, end, bigram=bigram)
    first = rewritten_from(begin, request.protected, bigram=bigram)
    state.memory.write(tuple(request.row[first:end]), tags[first:])
    if request.state_slot is not None:
        held = state.memory.state(request.state_slot)
        advanced = advance_state(held, request.namespace, request.tokens[begin:end])
        state.memory.write_state(request.state_slot, advanced)
    request.committed = end


def prefill(state: State, request: Request, count: int) -> int | None:
    """One chunk of the prompt; the length the tree had of it, or ``None`` without memory."""
    room, fork = make_room_for_chunk(state, request, count)
    if not room:
        return None
    wait_for_loads(state)
    fill_state(state, request)
    compute(state, request, count)
    return cache_unfinished(state, request, fork)


def cache_unfinished(state: State, request: Request, fork: int | None) -> int:
    """Hand the computed prefix to the tree and go on reading the tree's slots.

    The tree gets a copy of the state, in ``fork``: the request goes on computing in its own slot.
    """
    if fork is not None and request.state_slot is not None:
        state.memory.write_state(fork, state.memory.state(request.state_slot))
    if state.config.disable:
        return 0
    chunked = request.committed < request.prompt_len
    new = _insertion(state, request, chunked, fork)
    inserted = insert(state, new)
    found = match(state, request.namespace, new.tokens)
    kept = len(found.device_slots)
    assert inserted.prefix_len <= kept, "the re-match must accept what insert found"
    request.row[request.protected : kept] = found.device_slots[request.protected :]
    unlock(state, request.receipt)
    request.receipt = lock(state, found.last_device_node, "request", request.name)
    request.last_node, request.protected = found.last_device_node, kept
    if not inserted.state_taken:
        dispose_of_state(state, fork)
    return inserted.prefix_len


def decode(state: State, request: Request, tokens: tuple[int, ...], ahead: int) -> bool:
    """Append output tokens and compute their KV; False without memory for them and ``ahead``."""
    if not make_room(state, request, len(tokens) + ahead):
        return False
    request.tokens += tokens
    compute(state, request, len(tokens))
    return True


def slide_window(state: State, request: Request) -> int:
    """Give back the request's own SWA slots that left its window; how many tokens had one."""
    config = state.config
    begin = max(request.swa_evicted, request.protected)
    end = slid_frontier(
        request.swa_evicted,
        request.protected,
        request.committed,
        config.sliding_window,
        config.page_size,
    )
    request.swa_evicted = end
    return state.memory.free_swa(tuple(request.row[begin:end]))


def finish(state: State, request: Request) -> Inserted:
    """Hand everything computed to the tree; what does not fill a page is freed.

    The request's own state slot is donated; it is freed if the tree has that state already.
    """
    new = _insertion(state, request, chunked=False, slot=request.state_slot)
    inserted = insert(state, new)
    length = floor_page(len(new.tokens), state.config.page_size)
    state.memory.free_composite(tuple(request.row[length:]))
    _leave(state, request)
    if not inserted.state_taken:
        dispose_of_state(state, request.state_slot)
    return inserted


def abort(state: State, request: Request) -> None:
    """Free what the request owns and cache nothing."""
    wait_for_own_state(state, request)
    state.memory.free_composite(tuple(request.row[request.protected :]))
    _leave(state, request)
    dispose_of_state(state, request.state_slot)


def retract(state: State, request: Request) -> MatchResult:
    """Give everything back, cache nothing, and wait again with all tokens so far as the prompt.

    Whatever the cache knew of the request is forgotten: its window frontier, its state slot.
    """
    abort(state, request)
    return prepare(state, request.name, request.namespace, request.tokens, request.priority)


def window_left_prefix(state: State, request: Request) -> bool:
    """The next token attends to nothing of the protected prefix through the window."""
    return request.committed - (state.config.sliding_window - 1) >= request.protected


def release_early(state: State, request: Request) -> None:
    """Decoding past the window needs the prefix's KV only: no window, no state (10.2, 13)."""
    release_window(state, request.receipt)


def _leave(state: State, request: Request) -> None:
    unlock(state, request.receipt)
    del state.requests[request.name]


def _insertion(state: State, request: Request, chunked: bool, slot: int | None) -> Insertion:
    return Insertion(
        namespace=request.namespace,
        tokens=units(request.tokens[: request.committed], state.config.bigram),
        slots=tuple(request.row),
        protected=request.protected,
        swa_evicted=request.swa_evicted,
        chunked=chunked,
        priority=request.priority,
        state=slot,
    )
