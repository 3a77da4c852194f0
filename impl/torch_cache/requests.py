"""Requests as the scheduler runs them (domain.md 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.insertion import Incoming
from radixproof.impl.torch_cache.load_back import LoadBack
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.impl.torch_cache.req_to_token import ReqToToken
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.operations import LOAD, Admit
from radixproof.model.payload import NEVER_WRITTEN, advance_state, prefix_tags


@dataclass(slots=True, eq=False)
class Request:
    """A running request; its slots are ``allocated`` entries of a row of the table.

    ``state``: its own state slot (MAMBA; empty without). Before its first forward pass that is to
    be copied from ``state_source``, or zeroed, or is filled by a load.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    prompt_len: int
    row: int
    allocated: int
    protected: int
    committed: int
    last_node: Node
    receipt: Receipt
    swa_evicted: int = 0
    state: Tensor = NO_SLOTS
    state_source: Tensor | None = None
    zero_state: bool = False


class Requests(LoadBack):
    """Admission, prefill, decode, the sliding window, and the end."""

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.requests: dict[str, Request] = {}
        self.req_to_token = ReqToToken()

    def _admit(self, new: Admit) -> tuple[Request | None, MatchResult, bool]:
        """All tokens but the last are matched, so that one is always computed."""
        found = self._match(new.namespace, new.tokens[:-1])
        node, plan = found.device, None
        held, _ = self._acquire(node, "request", new.request)
        state = self._take_state_slot(found.best) if self.has_mamba else NO_SLOTS
        if state is None:
            self._release(held)
            return None, found, False
        if new.load_back and self._needs_loading(found):
            plan = self._load_back(found.best, new.mem_quota, state)
            node = found.best if plan else node
        receipt, _ = self._acquire(node, "request", new.request)
        self._release(held)
        slots = self._path_slots(node)
        row = self.req_to_token.take()
        self.req_to_token.write(row, 0, slots)
        request = Request(
            name=new.request,
            namespace=new.namespace,
            tokens=new.tokens,
            priority=new.priority,
            prompt_len=len(new.tokens),
            row=row,
            allocated=len(slots),
            protected=node.end,
            committed=node.end,
            last_node=node,
            receipt=receipt,
            state=state,
        )
        if self.has_mamba and not (plan and plan.mamba):
            self._prepare_state(request, found)
        self.requests[new.request] = request
        return request, found, plan is not None

    def _needs_loading(self, found: MatchResult) -> bool:
        evicted = not found.best.is_root and found.best.full.device is None
        return evicted or max(found.host_hit, found.swa_host_hit, found.mamba_host_hit) > 0

    # The state of a request (MAMBA): a slot of its own, never one of the tree's

    def _take_state_slot(self, matched: Node) -> Tensor | None:
        """One free state slot, evicting one state if there is none, but nothing of the match."""
        slot = self.memory.allocate(MAMBA, 1)
        if slot is None:
            pins = self._pin_match(matched)
            self._evict({MAMBA: 1})
            for pin in pins:
                self._release(pin)
            slot = self.memory.allocate(MAMBA, 1)
        return slot

    def _pin_match(self, matched: Node) -> list[Receipt]:
        """What will be loaded must survive the eviction for the state slot, on both tiers."""
        return [self._acquire(matched, "request")[0], self._acquire_host(matched, "request")]

    def _prepare_state(self, request: Request, found: MatchResult) -> None:
        """Copy-on-write from the end of the usable prefix (U-8); zeros where nothing is usable."""
        request.state_source = request.last_node.mamba.device
        request.zero_state = request.state_source is None

    def _fill_state(self, request: Request) -> None:
        """What the batch does before the request's first forward pass."""
        if request.state_source is not None:
            self.memory.copy_state(request.state_source, request.state)
        elif request.zero_state:
            self.memory.write_state(request.state, NEVER_WRITTEN)
        request.state_source, request.zero_state = None, False

    def _wait_for_own_state(self, request: Request) -> None:
        """A slot that a load will write is not given away before the load has run."""
        waiting = [t for s in self.queues.loads if not s.executed for t in s.transfers]
        copies = [c for t in waiting + self.queues.load_queue for c in t.copies]
        targets = [c.device for c in copies if c.component == MAMBA]
        if any(int(request.state) in slots.tolist() for slots in targets):
            self._wait_for_loads(LOAD)

    def _dispose_of_state(self, state: Tensor) -> None:
        self.memory.free(MAMBA, state)

    # Computing

    def _make_room(self, request: Request, tokens: int) -> bool:
        """Allocate whole pages for the next tokens, evicting where a pool is short."""
        need = -(-(request.committed + tokens) // self.page) * self.page - request.allocated
        if need <= 0:
            return True
        short_full = max(0, need - self.memory.available(FULL))
        short_swa = max(0, need - self.memory.available(SWA)) if self.has_swa else 0
        if short_full or short_swa:
            self._evict({FULL: short_full, SWA: short_swa})
        slots = self.memory.allocate_composite(need)
        if slots is None:
            return False
        self.req_to_token.write(request.row, request.allocated, slots)
        request.allocated += need
        return True

    def _make_room_for_chunk(self, request: Request, tokens: int) -> Tensor | None:
        """Room for a chunk and a slot for the state that the tree will get; ``None``: no memory."""
        if not self.has_mamba:
            return NO_SLOTS if self._make_room(request, tokens) else None
        need = max(0, request.committed + tokens - request.allocated)
        wanted = {FULL: need, SWA: need if self.has_swa else 0, MAMBA: 1}
        short = {c: n - self.memory.available(c) for c, n in wanted.items() if n}
        if max(short.values()) > 0:
            self._evict(short)
        taken = self.memory.allocate_with_state(need)
        if taken is None:
            return None
        slots, fork = taken
        self.req_to_token.write(request.row, request.allocated, slots)
        request.allocated += need
        return fork

    def _compute(self, request: Request, tokens: int) -> None:
        """The forward pass writes the KV of the next tokens."""
        begin, end = request.committed, request.committed + tokens
        tags = prefix_tags(request.namespace, request.tokens[:end])[begin:]
        self.memory.write(self._row(request, begin, end), tags)
        if self.has_mamba:
            held = self.memory.read_state(request.state)
            advanced = advance_state(held, request.namespace, request.tokens[begin:end])
            self.memory.write_state(request.state, advanced)
        request.committed = end

    def _prefill(self, request: Request, count: int) -> int | None:
        """One chunk of the prompt; how much of it the tree had, ``None`` without memory."""
        fork = self._make_room_for_chunk(request, count)
        if fork is None:
            return None
        self._wait_for_loads(LOAD)
        self._fill_state(request)
        self._compute(request, count)
        return self._cache_unfinished(request, fork)

    def _cache_unfinished(self, request: Request, fork: Tensor) -> int:
        """Hand the computed prefix to the tree and go on reading the tree's slots.

        The tree gets a copy of the state, in ``fork``.
        """
        if len(fork):
            self.memory.copy_state(request.state, fork)
        inserted = self._insert(
            self._incoming(request, fork, chunked=request.committed < request.prompt_len)
        )
        length = request.committed // self.page * self.page
        found = self._match(request.namespace, request.tokens[:length])
        kept = found.device.end
        self.req_to_token.write(
            request.row, request.protected, found.slots[request.protected : kept]
        )
        self._release(request.receipt)
        request.receipt, _ = self._acquire(found.device, "request", request.name)
        request.last_node, request.protected = found.device, kept
        if not inserted.state_taken:
            self._dispose_of_state(fork)
        return inserted.prefix_len

    def _decode(self, request: Request, tokens: tuple[int, ...]) -> bool:
        """Append output tokens and compute their KV; False without memory."""
        if not self._make_room(request, len(tokens)):
            return False
        request.tokens += tokens
        self._compute(request, len(tokens))
        return True

    def _slide_window(self, request: Request) -> int:
        """Give back the request's own SWA slots outside its window; how many there were."""
        begin = max(request.swa_evicted, request.protected)
        end = self._slid_frontier(begin, request.committed)
        freed = self.memory.free_swa(self._row(request, begin, end))
        request.swa_evicted = end
        return freed

    def _slid_frontier(self, begin: int, committed: int) -> int:
        """One page more than the window stays; whole pages."""
        beyond = committed - self.config.sliding_window - self.page
        return max(begin, beyond) // self.page * self.page

    def _finish(self, request: Request) -> int:
        """Hand everything computed to the tree; what does not fill a page is freed."""
        inserted = self._insert(self._incoming(request, request.state, chunked=False))
        length = request.committed // self.page * self.page
        self.memory.free_composite(self._row(request, length, request.allocated))
        self._leave(request)
        if not inserted.state_taken:
            self._dispose_of_state(request.state)
        return inserted.prefix_len

    def _abort(self, request: Request) -> None:
        """Free what the request owns and cache nothing."""
        if self.has_mamba:
            self._wait_for_own_state(request)
        self.memory.free_composite(self._row(request, request.protected, request.allocated))
        self._leave(request)
        self._dispose_of_state(request.state)

    def _leave(self, request: Request) -> None:
        self._release(request.receipt)
        self.req_to_token.give_back(request.row)
        del self.requests[request.name]

    def _row(self, request: Request, begin: int, end: int) -> Tensor:
        return self.req_to_token.read(request.row, begin, max(begin, end))

    def _incoming(self, request: Request, state: Tensor, *, chunked: bool) -> Incoming:
        return Incoming(
            namespace=request.namespace,
            tokens=request.tokens[: request.committed],
            slots=self._row(request, 0, request.allocated),
            protected=request.protected,
            swa_evicted=request.swa_evicted,
            chunked=chunked,
            priority=request.priority,
            state=state,
        )
