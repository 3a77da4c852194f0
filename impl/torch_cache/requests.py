"""Running requests: prefill, decode, the sliding window, and the end (domain.md 6.9)."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.admission import Admission, Request
from radixproof.impl.torch_cache.insertion import Incoming
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.operations import LOAD
from radixproof.model.payload import NEVER_WRITTEN, advance_state, kv_tags, rewritten_from


class Requests(Admission):
    """Prefill, decode, the sliding window, and the end."""

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
        short = self._shortage(need)
        if any(short.values()):
            self._evict(short)
        slots = self.memory.allocate_composite(need)
        if slots is None:
            return False
        self.req_to_token.write(request.row, request.allocated, slots)
        request.allocated += need
        return True

    def _shortage(self, need: int) -> dict[str, int]:
        """Tokens per component that the pools lack for ``need`` composite slots."""
        short = {FULL: max(0, need - self.memory.available(FULL))}
        if self.has_swa:
            short[SWA] = max(0, need - self.memory.available(SWA))
        return short

    def _make_room_for_chunk(self, request: Request, tokens: int) -> Tensor | None:
        """Room for a chunk and a slot for the state that the tree will get; ``None``: no memory."""
        if not self.has_mamba or self.config.disable:
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
        bigram = self.config.bigram
        tags = kv_tags(request.namespace, request.tokens, end, bigram=bigram)
        first = rewritten_from(begin, request.protected, bigram=bigram)
        self.memory.write(self._row(request, first, end), tags[first:])
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
        if self.config.disable:
            return 0
        if len(fork):
            self.memory.copy_state(request.state, fork)
        inserted = self._insert(
            self._incoming(request, fork, chunked=request.committed < request.prompt_len)
        )
        found = self._match(request.namespace, self._computed(request))
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

    def _decode(self, request: Request, tokens: tuple[int, ...], ahead: int) -> bool:
        """Append output tokens and compute their KV; False without memory."""
        if not self._make_room(request, len(tokens) + ahead):
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
        length = len(self._computed(request)) // self.page * self.page
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

    def _retract(self, request: Request) -> MatchResult:
        """Give everything back and wait again, with all tokens so far for a prompt."""
        self._abort(request)
        return self._prepare(request.name, request.namespace, request.tokens, request.priority)

    def _window_left_prefix(self, request: Request) -> bool:
        """The next token attends to nothing of the protected prefix through the window."""
        return request.committed - (self.config.sliding_window - 1) >= request.protected

    def _leave(self, request: Request) -> None:
        self._release(request.receipt)
        self.req_to_token.give_back(request.row)
        del self.requests[request.name]

    def _computed(self, request: Request) -> tuple[int, ...]:
        """The units whose KV the request has: of pairs one less than of tokens."""
        return self._units(request.tokens[: request.committed])

    def _row(self, request: Request, begin: int, end: int) -> Tensor:
        return self.req_to_token.read(request.row, begin, max(begin, end))

    def _incoming(self, request: Request, state: Tensor, *, chunked: bool) -> Incoming:
        return Incoming(
            namespace=request.namespace,
            tokens=self._computed(request),
            slots=self._row(request, 0, request.allocated),
            protected=request.protected,
            swa_evicted=request.swa_evicted,
            chunked=chunked,
            priority=request.priority,
            state=state,
        )
