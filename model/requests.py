"""Requests as the scheduler runs them (domain.md 6.9)."""

from __future__ import annotations

from radixproof.model.config import FULL, SWA
from radixproof.model.eviction import evict
from radixproof.model.insertion import Insertion, insert
from radixproof.model.keys import ceil_page, floor_page
from radixproof.model.load_back import load_back
from radixproof.model.locking import lock, unlock
from radixproof.model.matching import MatchResult, match, prefix_slots
from radixproof.model.operations import Admit
from radixproof.model.payload import prefix_tags
from radixproof.model.state import Request, State
from radixproof.model.transfers import wait_for_loads
from radixproof.model.windows import slid_frontier


def admit(state: State, new: Admit) -> tuple[Request, MatchResult, bool]:
    """Match all tokens but the last, so that one is always computed, and lock what is usable."""
    found = match(state, new.namespace, new.tokens[:-1])
    node, loaded = found.last_device_node, False
    held = lock(state, node, "request", new.request)
    if new.load_back and needs_loading(found):
        loaded = load_back(state, found.best_match_node, new.mem_quota) is not None
        node = found.best_match_node if loaded else node
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
    )
    state.requests[new.request] = request
    return request, found, loaded


def needs_loading(found: MatchResult) -> bool:
    evicted = FULL not in found.best_match_node.held and found.best_match_node.tokens != ()
    return evicted or found.host_hit > 0 or found.swa_host_hit > 0


def make_room(state: State, request: Request, tokens: int) -> bool:
    """Allocate whole pages for the next ``tokens``, evicting where a pool is short."""
    memory, size = state.memory, state.config.page_size
    need = ceil_page(request.committed + tokens, size) - len(request.row)
    if need <= 0:
        return True
    short_full = max(0, need - memory.available(FULL))
    short_swa = max(0, need - memory.available(SWA)) if state.config.has_swa else 0
    if short_full or short_swa:
        evict(state, {FULL: short_full, SWA: short_swa})
    slots = memory.attempt_composite(need)
    if slots is None:
        return False
    request.row.extend(slots)
    return True


def compute(state: State, request: Request, tokens: int) -> None:
    """The forward pass writes the KV of the next ``tokens``."""
    begin, end = request.committed, request.committed + tokens
    tags = prefix_tags(request.namespace, request.tokens[:end])
    state.memory.write(tuple(request.row[begin:end]), tags[begin:])
    request.committed = end


def prefill(state: State, request: Request, count: int) -> int | None:
    """One chunk of the prompt; the length the tree had of it, or ``None`` without memory."""
    if not make_room(state, request, count):
        return None
    wait_for_loads(state)
    compute(state, request, count)
    return cache_unfinished(state, request)


def cache_unfinished(state: State, request: Request) -> int:
    """Hand the computed prefix to the tree and go on reading the tree's slots."""
    length = floor_page(request.committed, state.config.page_size)
    chunked = request.committed < request.prompt_len
    prefix_len = insert(state, _insertion(request, chunked))
    found = match(state, request.namespace, request.tokens[:length])
    assert prefix_len <= len(found.device_slots), "the re-match must accept what insert found"
    kept = len(found.device_slots)
    request.row[request.protected : kept] = found.device_slots[request.protected :]
    unlock(state, request.receipt)
    request.receipt = lock(state, found.last_device_node, "request", request.name)
    request.last_node, request.protected = found.last_device_node, kept
    return prefix_len


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


def finish(state: State, request: Request) -> int:
    """Hand everything computed to the tree; what does not fill a page is freed."""
    prefix_len = insert(state, _insertion(request, chunked=False))
    length = floor_page(request.committed, state.config.page_size)
    state.memory.free_composite(tuple(request.row[length:]))
    _leave(state, request)
    return prefix_len


def abort(state: State, request: Request) -> None:
    """Free what the request owns and cache nothing."""
    state.memory.free_composite(tuple(request.row[request.protected :]))
    _leave(state, request)


def _leave(state: State, request: Request) -> None:
    unlock(state, request.receipt)
    del state.requests[request.name]


def _insertion(request: Request, chunked: bool) -> Insertion:
    return Insertion(
        namespace=request.namespace,
        tokens=request.tokens[: request.committed],
        slots=tuple(request.row),
        protected=request.protected,
        swa_evicted=request.swa_evicted,
        chunked=chunked,
        priority=request.priority,
    )
