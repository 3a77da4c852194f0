"""``TorchCache``: the cache's public operations, with the argument checks of domain.md 0.4.

An illegal call raises ``ArgumentError``, ``ProtocolError`` or ``BusyError`` before anything
changes; an operation without memory returns ``None``. The rules themselves are the underscored
methods of the base classes, one file each: ``Core`` (state, split), ``Recency``, ``Locks``,
``HostEviction``, ``Backup``, ``Eviction``, ``Insertion``, ``Matching``, ``LoadBack``,
``Admission``, ``Requests``.
Each is small and may be overridden; stateful_tests/variants/ does so to build known-wrong caches.
"""

from __future__ import annotations

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.errors import ArgumentError, BusyError, ProtocolError
from radixproof.impl.torch_cache.host_eviction import Freed
from radixproof.impl.torch_cache.insertion import Incoming, Inserted
from radixproof.impl.torch_cache.load_back import MAX_UNFINISHED_LOADS, LoadPlan
from radixproof.impl.torch_cache.locks import DEVICE, HOST
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.node import Receipt
from radixproof.impl.torch_cache.requests import Requests
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.payload import NEVER_WRITTEN, advance_state, kv_tags


class TorchCache(Requests):
    """A hierarchical prefix cache for FULL and SWA KV and MAMBA states on torch tensors."""

    # Keys

    def match(self, o: op.Match) -> MatchResult:
        return self._match(o.namespace, self._units(o.tokens))

    def insert(self, o: op.Insert) -> Inserted | None:
        """Allocate, write and hand over a key and its state; ``None``: no memory."""
        key = self._units(o.tokens)
        length = len(key) // self.page * self.page
        _argument(len(o.tokens) > 0, "an insert needs tokens")
        _argument(0 <= o.swa_evicted <= length, "swa_evicted lies outside the aligned key")
        _argument(self._is_aligned(o.swa_evicted), "swa_evicted is not page-aligned")
        _argument(self.has_swa or o.swa_evicted == 0, "swa_evicted without SWA")
        taken = self.memory.allocate_with_state(-(-len(o.tokens) // self.page) * self.page)
        if taken is None:
            return None
        slots, state = taken
        if len(state):
            self.memory.write_state(state, advance_state(NEVER_WRITTEN, o.namespace, o.tokens))
        tags = kv_tags(o.namespace, o.tokens, len(o.tokens), bigram=self.config.bigram)
        self.memory.write(slots[: len(o.tokens)], tags)
        self.memory.free_swa(slots[: o.swa_evicted])
        inserted = self._insert(
            Incoming(
                o.namespace,
                key,
                slots,
                swa_evicted=o.swa_evicted,
                chunked=o.chunked,
                priority=o.priority,
                state=state,
            )
        )
        self.memory.free_composite(slots[length:])
        if not inserted.state_taken:
            self._dispose_of_state(state)
        return inserted

    def _is_aligned(self, swa_evicted: int) -> bool:
        return swa_evicted % self.page == 0

    # Locks

    def lock(self, o: op.Lock) -> int:
        """The FULL tokens that became protected."""
        node = self._named(o.namespace, o.tokens)
        _protocol(self._client_receipt(o.holder, DEVICE) is None, "the holder has a device lock")
        return self._acquire(node, "client", o.holder)[1]

    def unlock(self, o: op.Unlock) -> None:
        self._release(self._held(o.holder, DEVICE))

    def host_lock(self, o: op.HostLock) -> None:
        _argument(self.has_host, "there is no host tier")
        node = self._named(o.namespace, o.tokens)
        _argument(not node.is_root, "the root takes no host lock")
        _argument(node.full.host is not None, "the node is not backed up")
        _protocol(self._client_receipt(o.holder, HOST) is None, "the holder has a host lock")
        self._acquire_host(node, "client", o.holder)

    def host_unlock(self, o: op.HostUnlock) -> None:
        self._release(self._held(o.holder, HOST))

    def _client_receipt(self, holder: str, tier: str) -> Receipt | None:
        wanted = ("client", holder, tier)
        return next((r for r in self.receipts if (r.owner, r.name, r.tier) == wanted), None)

    def _held(self, holder: str, tier: str) -> Receipt:
        receipt = self._client_receipt(holder, tier)
        if receipt is None:
            raise ProtocolError(f"the holder has no {tier} lock")
        return receipt

    # Memory pressure

    def evict(self, o: op.Evict) -> Freed:
        _argument(min(o.full, o.swa, o.mamba) >= 0, "a negative number of tokens")
        _argument(self.has_swa or o.swa == 0, "there is no SWA")
        _argument(self.has_mamba or o.mamba == 0, "there is no MAMBA")
        return self._evict({FULL: o.full, SWA: o.swa, MAMBA: o.mamba})

    def evict_host(self, o: op.EvictHost) -> int:
        _argument(o.count >= 0, "a negative number of tokens")
        _argument(o.component in self.config.components, f"no component {o.component!r}")
        _argument(self.has_host, "there is no host tier")
        return self._evict_host(o.count, o.component)

    # Transfers

    def load_back(self, o: op.LoadBack) -> LoadPlan | None:
        _argument(len(o.tokens) > 0, "the root is no load target")
        _argument(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        target = self._named(o.namespace, o.tokens)
        _argument(self._is_loadable(target), "the node is no valid best match")
        return self._load_back(target, o.mem_quota)

    def start_loading(self) -> int | None:
        if self.queues.load_queue and self._unfinished_loads() >= MAX_UNFINISHED_LOADS:
            return None
        return self._start_loading()

    def execute(self, o: op.Execute) -> None:
        _argument(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        _argument(o.rank in (None, 0), f"no rank {o.rank}")
        for submission in self.queues.of(o.stream):
            if not submission.executed:
                self.engine.run(self.memory, o.stream, submission)
                return
        raise ProtocolError(f"nothing waits on the {o.stream} stream")

    def observe(self, o: op.Observe) -> int:
        _argument(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        _argument(o.limit is None or o.limit >= 0, "a negative limit")
        return self._acknowledge(o.stream, o.limit)

    # Requests

    def admit(self, o: op.Admit) -> tuple[Request | None, MatchResult, bool]:
        """The request (``None``: no state slot), what it matched, whether a load was accepted.

        Both halves at once; a request that is refused does not wait.
        """
        _argument(len(o.tokens) > 0, "a request needs tokens")
        _argument(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        self._require_new(o.request)
        found = self._prepare(o.request, o.namespace, o.tokens, o.priority)
        waiting = self.candidates[o.request]
        request, loaded = self._proceed(waiting, may_load=o.load_back, mem_quota=o.mem_quota)
        if request is None:
            self._drop(waiting)
        return request, found, loaded

    def prepare(self, o: op.Prepare) -> MatchResult:
        _argument(len(o.tokens) > 0, "a request needs tokens")
        self._require_new(o.request)
        return self._prepare(o.request, o.namespace, o.tokens, o.priority)

    def proceed(self, o: op.Proceed) -> tuple[Request | None, bool]:
        """The request (``None``: no state slot, it waits on), and whether a load was accepted."""
        _argument(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        _protocol(o.request in self.candidates, "no such request waits")
        waiting = self.candidates[o.request]
        return self._proceed(waiting, may_load=o.load_back, mem_quota=o.mem_quota)

    def retract(self, o: op.Retract) -> MatchResult:
        return self._retract(self._running(o.request))

    def release_window(self, o: op.ReleaseWindow) -> None:
        _argument(self.has_swa, "there is no SWA")
        request = self._complete(o.request)
        held = request.last_node.is_root or request.receipt.swa_top is not None
        _protocol(held, "the window was released already")
        left = self._window_left_prefix(request)
        _protocol(left, "the window reaches into the protected prefix")
        self._release_window(request.receipt)

    def _require_new(self, name: str) -> None:
        known = name in self.requests or name in self.candidates
        _protocol(not known, "the request runs or waits already")

    def prefill(self, o: op.Prefill) -> tuple[Request, int | None]:
        request = self._running(o.request)
        left = request.prompt_len - request.committed
        _argument(1 <= o.count <= left, f"count must be from 1 to {left}")
        return request, self._prefill(request, o.count)

    def decode(self, o: op.Decode) -> int | None:
        """The committed tokens; ``None``: no memory."""
        request = self._complete(o.request)
        _argument(len(o.tokens) > 0, "a decode step needs tokens")
        _argument(o.ahead >= 0, "slots for a negative number of tokens")
        return request.committed if self._decode(request, o.tokens, o.ahead) else None

    def slide_window(self, o: op.SlideWindow) -> tuple[Request, int]:
        _argument(self.has_swa, "there is no SWA")
        request = self._running(o.request)
        return request, self._slide_window(request)

    def finish(self, o: op.Finish) -> int:
        return self._finish(self._complete(o.request))

    def abort(self, o: op.Abort) -> None:
        if o.request in self.candidates:
            self._drop(self.candidates[o.request])
        else:
            self._abort(self._running(o.request))

    # Environment

    def reset(self) -> None:
        """Flush everything (6.10); refused while anything is in flight."""
        self._require_idle()
        self.memory.clear()
        self._clear_tree()
        self._emit_cleared()

    def _require_idle(self) -> None:
        if self.requests or self.receipts or not self.queues.idle():
            raise BusyError("requests, locks or transfers are in flight")

    def fail_allocation(self, o: op.FailAllocation) -> None:
        _argument(o.pool in self.memory.allocators, f"no pool {o.pool!r}")
        self.memory.allocators[o.pool].armed += 1

    # Looking up

    def _running(self, name: str) -> Request:
        if name not in self.requests:
            raise ProtocolError(f"no request {name!r} runs")
        return self.requests[name]

    def _complete(self, name: str) -> Request:
        request = self._running(name)
        _protocol(request.committed >= request.prompt_len, "the prompt is not complete")
        return request


def _argument(condition: bool, reason: str) -> None:
    if not condition:
        raise ArgumentError(reason)


def _protocol(condition: bool, reason: str) -> None:
    if not condition:
        raise ProtocolError(reason)
