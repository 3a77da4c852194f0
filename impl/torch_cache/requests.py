"""Requests as the scheduler runs them (domain.md 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.insertion import Incoming
from radixproof.impl.torch_cache.load_back import LoadBack
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.impl.torch_cache.req_to_token import ReqToToken
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.operations import LOAD, Admit
from radixproof.model.payload import prefix_tags


@dataclass(slots=True, eq=False)
class Request:
    """A running request; its slots are ``allocated`` entries of a row of the table."""

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


class Requests(LoadBack):
    """Admission, prefill, decode, the sliding window, and the end."""

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.requests: dict[str, Request] = {}
        self.req_to_token = ReqToToken()

    def _admit(self, new: Admit) -> tuple[Request, MatchResult, bool]:
        """All tokens but the last are matched, so that one is always computed."""
        found = self._match(new.namespace, new.tokens[:-1])
        node, loaded = found.device, False
        held, _ = self._acquire(node, "request", new.request)
        if new.load_back and self._needs_loading(found):
            loaded = self._load_back(found.best, new.mem_quota) is not None
            node = found.best if loaded else node
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
        )
        self.requests[new.request] = request
        return request, found, loaded

    def _needs_loading(self, found: MatchResult) -> bool:
        evicted = not found.best.is_root and found.best.full.device is None
        return evicted or found.host_hit > 0 or found.swa_host_hit > 0

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

    def _compute(self, request: Request, tokens: int) -> None:
        """The forward pass writes the KV of the next tokens."""
        begin, end = request.committed, request.committed + tokens
        tags = prefix_tags(request.namespace, request.tokens[:end])[begin:]
        self.memory.write(self._row(request, begin, end), tags)
        request.committed = end

    def _prefill(self, request: Request, count: int) -> int | None:
        """One chunk of the prompt; how much of it the tree had, ``None`` without memory."""
        if not self._make_room(request, count):
            return None
        self._wait_for_loads(LOAD)
        self._compute(request, count)
        return self._cache_unfinished(request)

    def _cache_unfinished(self, request: Request) -> int:
        """Hand the computed prefix to the tree and go on reading the tree's slots."""
        prefix_len = self._insert(
            self._incoming(request, chunked=request.committed < request.prompt_len)
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
        return prefix_len

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
        prefix_len = self._insert(self._incoming(request, chunked=False))
        length = request.committed // self.page * self.page
        self.memory.free_composite(self._row(request, length, request.allocated))
        self._leave(request)
        return prefix_len

    def _abort(self, request: Request) -> None:
        """Free what the request owns and cache nothing."""
        self.memory.free_composite(self._row(request, request.protected, request.allocated))
        self._leave(request)

    def _leave(self, request: Request) -> None:
        self._release(request.receipt)
        self.req_to_token.give_back(request.row)
        del self.requests[request.name]

    def _row(self, request: Request, begin: int, end: int) -> Tensor:
        return self.req_to_token.read(request.row, begin, max(begin, end))

    def _incoming(self, request: Request, chunked: bool) -> Incoming:
        return Incoming(
            namespace=request.namespace,
            tokens=request.tokens[: request.committed],
            slots=self._row(request, 0, request.allocated),
            protected=request.protected,
            swa_evicted=request.swa_evicted,
            chunked=chunked,
            priority=request.priority,
        )
