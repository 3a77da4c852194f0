"""Requests as the scheduler runs them (domain.md 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.eviction import evict
from radixproof.model.insertion import Inserted, Insertion, insert
from radixproof.model.keys import ceil_page, floor_page
from radixproof.model.load_back import load_back
from radixproof.model.locking import host_lock, lock, unlock
from radixproof.model.matching import MatchResult, match, prefix_slots
from radixproof.model.operations import Admit
from radixproof.model.payload import NEVER_WRITTEN, advance_state, prefix_tags
from radixproof.model.state import Request, State
from radixproof.model.transfers import unfinished, wait_for_loads
from radixproof.model.tree import Page
from radixproof.model.windows import slid_frontier


@dataclass(frozen=True, slots=True)
class Admission:
    """``request`` is ``None`` where no state slot could be had: it does not run."""

    request: Request | None
    found: MatchResult
    loaded: bool


def admit(state: State, new: Admit) -> Admission:
    """Match all tokens but the last, so that one is always computed, and lock what is usable."""
    found = match(state, new.namespace, new.tokens[:-1])
    node, load = found.last_device_node, None
    held = lock(state, node, "request", new.request)
    own = take_state_slot(state, found.best_match_node) if state.config.has_mamba else None
    if state.config.has_mamba and own is None:
        unlock(state, held)
        return Admission(None, found, loaded=False)
    if new.load_back and needs_loading(found):
        load = load_back(state, found.best_match_node, new.mem_quota, own)
        node = found.best_match_node if load else node
    receipt = lock(state, node, "request", new.request)
    unlock(state, held)
    request = Request(
        name=new.request,
        namespace=new.namespace,
        tokens=new.tokens,
        priority=new.priority,
        prompt_len=len(new.tokens),
        row=list(prefix_slots(state, node)),
        last_node=node,
        receipt=receipt,
        protected=len(node.tokens),
        committed=len(node.tokens),
        state_slot=own,
    )
    if own is not None and not (load and own in load.moves[MAMBA][0]):
        prepare_state(state, request, node)
    state.requests[new.request] = request
    return Admission(request, found, load is not None)


def needs_loading(found: MatchResult) -> bool:
    evicted = FULL not in found.best_match_node.held and found.best_match_node.tokens != ()
    return evicted or found.host_hit > 0 or found.swa_host_hit > 0 or found.mamba_host_hit > 0


# The state of a request (MAMBA): a slot of its own, never one of the tree's


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


# Computing


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
    if not state.config.has_mamba:
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
    tags = prefix_tags(request.namespace, request.tokens[:end])
    state.memory.write(tuple(request.row[begin:end]), tags[begin:])
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
    length = floor_page(request.committed, state.config.page_size)
    chunked = request.committed < request.prompt_len
    inserted = insert(state, _insertion(request, chunked, fork))
    found = match(state, request.namespace, request.tokens[:length])
    kept = len(found.device_slots)
    assert inserted.prefix_len <= kept, "the re-match must accept what insert found"
    request.row[request.protected : kept] = found.device_slots[request.protected :]
    unlock(state, request.receipt)
    request.receipt = lock(state, found.last_device_node, "request", request.name)
    request.last_node, request.protected = found.last_device_node, kept
    if not inserted.state_taken:
        dispose_of_state(state, fork)
    return inserted.prefix_len


def decode(state: State, request: Request, tokens: tuple[int, ...]) -> bool:
    """Append output tokens and compute their KV; False without memory."""
    if not make_room(state, request, len(tokens)):
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
    inserted = insert(state, _insertion(request, chunked=False, slot=request.state_slot))
    length = floor_page(request.committed, state.config.page_size)
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


def _leave(state: State, request: Request) -> None:
    unlock(state, request.receipt)
    del state.requests[request.name]


def _insertion(request: Request, chunked: bool, slot: int | None) -> Insertion:
    return Insertion(
        namespace=request.namespace,
        tokens=request.tokens[: request.committed],
        slots=tuple(request.row),
        protected=request.protected,
        swa_evicted=request.swa_evicted,
        chunked=chunked,
        priority=request.priority,
        state=slot,
    )
