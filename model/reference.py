"""The executable specification as a subject: each operation, its legality and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from radixproof.model import operations as op
from radixproof.model import requests
from radixproof.model.admission import drop, prepare, proceed
from radixproof.model.alternatives import THE_RULES, Rules
from radixproof.model.backup import back_up_split
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import (
    NO_RANKS,
    ConfigError,
    ErrorKind,
    IllegalUse,
    require,
    require_pairing,
)
from radixproof.model.events import emit_cleared
from radixproof.model.eviction import evict
from radixproof.model.host_eviction import evict_host
from radixproof.model.insertion import Insertion, insert
from radixproof.model.keys import ceil_page, floor_page
from radixproof.model.load_back import load_back, require_loadable
from radixproof.model.locking import host_lock, lock, protectable, unlock
from radixproof.model.matching import MatchResult, match
from radixproof.model.observation import Observation
from radixproof.model.outcome import Outcome, error, ok, refused
from radixproof.model.payload import NEVER_WRITTEN, advance_state, kv_tags
from radixproof.model.snapshot import Snapshot
from radixproof.model.state import DEVICE, HOST, Receipt, Request, State
from radixproof.model.state_slots import dispose_of_state
from radixproof.model.storage import NO_STORAGE
from radixproof.model.transfers import (
    MAX_UNFINISHED_LOADS,
    acknowledge,
    execute_load,
    execute_write,
    start_loading,
    unfinished,
)
from radixproof.model.tree import Page
from radixproof.model.units import units


class ReferenceModel:
    """The specification, run. Legality is decided before anything changes."""

    name = "model"

    def __init__(self, config: CacheConfig, rules: Rules = THE_RULES) -> None:
        """Raises ``ConfigError`` for what is a server's, ranks and storage: not specified."""
        config.require_no_server()
        if config.ranks > 1:
            raise ConfigError(NO_RANKS)
        if config.storage is not None:
            raise ConfigError(NO_STORAGE)
        self.config = config
        self.rules = rules
        self.state = self._new_state()

    def _new_state(self) -> State:
        state = State.empty(self.config, self.rules)
        if self.rules.backup_in_split:
            state.tree.on_split = partial(back_up_split, state)
        emit_cleared(state)
        return state

    def apply(self, operation: op.Operation) -> Outcome:
        self.state.events = []
        if op.NAMES[type(operation)] not in op.OPERATIONS:
            return error(ErrorKind.ARGUMENT, "only servers do this")
        perform: Callable[[Any], Outcome] = getattr(self, f"_{op.NAMES[type(operation)]}")
        try:
            return perform(operation)
        except IllegalUse as illegal:
            return error(illegal.kind, illegal.reason)

    def snapshot(self) -> Snapshot:
        return Observation(self.state).snapshot()

    def close(self) -> None:
        """Nothing is held outside the process."""

    # Keys

    def _match(self, o: op.Match) -> Outcome:
        found = match(self.state, o.namespace, units(o.tokens, self.config.bigram))
        return ok(
            found.device_slots,
            device_hit=len(found.last_device_node.tokens),
            best_match=len(found.best_match_node.tokens),
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            **self._with_mamba(mamba_host_hit=found.mamba_host_hit, branching=found.branching),
        )

    def _insert(self, o: op.Insert) -> Outcome:
        size, memory = self.config.page_size, self.state.memory
        key = units(o.tokens, self.config.bigram)
        length = floor_page(len(key), size)
        require(bool(o.tokens), "an insert needs tokens")
        require(0 <= o.swa_evicted <= length, "swa_evicted lies outside the aligned key")
        require(o.swa_evicted % size == 0, "swa_evicted is not page-aligned")
        require(self.config.has_swa or o.swa_evicted == 0, "swa_evicted without SWA")
        taken = memory.attempt_with_state(ceil_page(len(o.tokens), size))
        if taken is None:
            return refused("no device slots")
        slots, own = taken
        if own is not None:
            memory.write_state(own, advance_state(NEVER_WRITTEN, o.namespace, o.tokens))
        tags = kv_tags(o.namespace, o.tokens, len(o.tokens), bigram=self.config.bigram)
        memory.write(slots[: len(o.tokens)], tags)
        memory.free_swa(slots[: o.swa_evicted])
        new = Insertion(
            o.namespace,
            key,
            slots,
            swa_evicted=o.swa_evicted,
            chunked=o.chunked,
            priority=o.priority,
            state=own,
        )
        done = insert(self.state, new)
        memory.free_composite(slots[length:])
        if not done.state_taken:
            dispose_of_state(self.state, own)
        taken_over = self._with_mamba(state_taken=int(done.state_taken))
        return ok(prefix_len=done.prefix_len, **taken_over)

    # Locks

    def _lock(self, o: op.Lock) -> Outcome:
        node = self._node(o.namespace, o.tokens)
        require_pairing(self._held(o.holder, DEVICE) is None, "the holder has a device lock")
        delta = protectable(self.state, node)
        lock(self.state, node, "client", o.holder)
        return ok(delta=delta)

    def _unlock(self, o: op.Unlock) -> Outcome:
        return self._release(o.holder, DEVICE)

    def _host_lock(self, o: op.HostLock) -> Outcome:
        require(self.config.has_host, "there is no host tier")
        require(bool(o.tokens), "the root takes no host lock")
        node = self._node(o.namespace, o.tokens)
        require("host_full" in node.held, "the node is not backed up")
        require_pairing(self._held(o.holder, HOST) is None, "the holder has a host lock")
        host_lock(self.state, node, "client", o.holder)
        return ok()

    def _host_unlock(self, o: op.HostUnlock) -> Outcome:
        return self._release(o.holder, HOST)

    def _release(self, holder: str, tier: str) -> Outcome:
        receipt = self._held(holder, tier)
        if receipt is None:
            raise IllegalUse(ErrorKind.PROTOCOL, f"the holder has no {tier} lock")
        unlock(self.state, receipt)
        return ok()

    def _held(self, holder: str, tier: str) -> Receipt | None:
        return next(
            (
                r
                for r in self.state.receipts
                if (r.owner, r.name, r.tier) == ("client", holder, tier)
            ),
            None,
        )

    # Memory pressure

    def _evict(self, o: op.Evict) -> Outcome:
        require(min(o.full, o.swa, o.mamba) >= 0, "a negative number of tokens")
        require(self.config.has_swa or o.swa == 0, "there is no SWA")
        require(self.config.has_mamba or o.mamba == 0, "there is no MAMBA")
        freed = evict(self.state, {FULL: o.full, SWA: o.swa, MAMBA: o.mamba})
        states = self._with_mamba(freed_mamba=freed[MAMBA])
        return ok(freed_full=freed[FULL], freed_swa=freed[SWA], **states)

    def _evict_host(self, o: op.EvictHost) -> Outcome:
        require(o.count >= 0, "a negative number of tokens")
        require(o.component in self.config.components, f"no component {o.component!r}")
        require(self.config.has_host, "there is no host tier")
        return ok(freed=evict_host(self.state, o.count, o.component))

    # Transfers

    def _load_back(self, o: op.LoadBack) -> Outcome:
        require(bool(o.tokens), "the root is no load target")
        require(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        node = self._node(o.namespace, o.tokens)
        require_loadable(self.state, node)
        load = load_back(self.state, node, o.mem_quota)
        if load is None:
            return refused("load-back refused")
        loaded = {c: len(device) for c, (device, _) in load.moves.items()}
        states = self._with_mamba(loaded_mamba=loaded[MAMBA])
        return ok(loaded_full=loaded[FULL], loaded_swa=loaded[SWA], **states)

    def _start_loading(self, o: op.StartLoading) -> Outcome:
        if self.state.load_queue and len(unfinished(self.state.loads)) >= MAX_UNFINISHED_LOADS:
            return refused("three load submissions are unfinished")
        return ok(submitted=start_loading(self.state))

    def _execute(self, o: op.Execute) -> Outcome:
        require(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        require(o.rank in (None, 0), f"no rank {o.rank}")
        writing = o.stream == op.WRITE
        waiting = unfinished(self.state.writes if writing else self.state.loads)
        require_pairing(bool(waiting), f"nothing waits on the {o.stream} stream")
        run = execute_write if writing else execute_load
        run(self.state, waiting[0])
        return ok()

    def _observe(self, o: op.Observe) -> Outcome:
        require(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        require(o.limit is None or o.limit >= 0, "a negative limit")
        queue = self.state.writes if o.stream == op.WRITE else self.state.loads
        return ok(acknowledged=acknowledge(self.state, queue, o.limit))

    # Requests

    def _admit(self, o: op.Admit) -> Outcome:
        require(bool(o.tokens), "a request needs tokens")
        require(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        self._require_new(o.request)
        found = prepare(self.state, o.request, o.namespace, o.tokens, o.priority)
        candidate = self.state.candidates[o.request]
        admission = proceed(self.state, candidate, may_load=o.load_back, mem_quota=o.mem_quota)
        request = admission.request
        if request is None:
            drop(self.state, candidate)
            return refused("no state slot")
        return ok(
            tuple(request.row),
            device_hit=len(found.last_device_node.tokens),
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            loaded=int(admission.loaded),
            protected=request.protected,
            **self._with_mamba(mamba_host_hit=found.mamba_host_hit),
        )

    def _prepare(self, o: op.Prepare) -> Outcome:
        require(bool(o.tokens), "a request needs tokens")
        self._require_new(o.request)
        return self._waiting(prepare(self.state, o.request, o.namespace, o.tokens, o.priority))

    def _waiting(self, found: MatchResult) -> Outcome:
        return ok(
            device_hit=len(found.last_device_node.tokens),
            best_match=len(found.best_match_node.tokens),
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            **self._with_mamba(mamba_host_hit=found.mamba_host_hit),
        )

    def _proceed(self, o: op.Proceed) -> Outcome:
        require(o.mem_quota is None or o.mem_quota >= 0, "a negative quota")
        candidate = self.state.candidates.get(o.request)
        if candidate is None:
            raise IllegalUse(ErrorKind.PROTOCOL, f"no request {o.request!r} waits")
        admission = proceed(self.state, candidate, may_load=o.load_back, mem_quota=o.mem_quota)
        if admission.request is None:
            return refused("no state slot")
        request = admission.request
        return ok(tuple(request.row), loaded=int(admission.loaded), protected=request.protected)

    def _retract(self, o: op.Retract) -> Outcome:
        return self._waiting(requests.retract(self.state, self._request(o.request)))

    def _release_window(self, o: op.ReleaseWindow) -> Outcome:
        require(self.config.has_swa, "there is no SWA")
        request = self._complete(o.request)
        rooted = request.last_node is self.state.tree.root
        held = rooted or request.receipt.swa_start is not None
        require_pairing(held, "the window was released already")
        left = requests.window_left_prefix(self.state, request)
        require_pairing(left, "the window reaches into the protected prefix")
        requests.release_early(self.state, request)
        return ok()

    def _prefill(self, o: op.Prefill) -> Outcome:
        request = self._request(o.request)
        left = request.prompt_len - request.committed
        require(1 <= o.count <= left, f"count must be from 1 to {left}")
        prefix_len = requests.prefill(self.state, request, o.count)
        if prefix_len is None:
            return refused("no device slots")
        return ok(prefix_len=prefix_len, protected=request.protected)

    def _decode(self, o: op.Decode) -> Outcome:
        request = self._complete(o.request)
        require(bool(o.tokens), "a decode step needs tokens")
        require(o.ahead >= 0, "slots for a negative number of tokens")
        if not requests.decode(self.state, request, o.tokens, o.ahead):
            return refused("no device slots")
        return ok(committed=request.committed)

    def _slide_window(self, o: op.SlideWindow) -> Outcome:
        require(self.config.has_swa, "there is no SWA")
        request = self._request(o.request)
        freed = requests.slide_window(self.state, request)
        return ok(freed=freed, swa_evicted=request.swa_evicted)

    def _finish(self, o: op.Finish) -> Outcome:
        return ok(prefix_len=requests.finish(self.state, self._complete(o.request)).prefix_len)

    def _abort(self, o: op.Abort) -> Outcome:
        candidate = self.state.candidates.get(o.request)
        if candidate is not None:
            drop(self.state, candidate)
        else:
            requests.abort(self.state, self._request(o.request))
        return ok()

    # Environment

    def _reset(self, o: op.Reset) -> Outcome:
        state = self.state
        busy = state.requests or state.receipts or state.writes or state.loads or state.load_queue
        if busy:
            raise IllegalUse(ErrorKind.BUSY, "requests, locks or transfers are in flight")
        memory = state.memory
        memory.reset()
        self.state = self._new_state()
        self.state.memory = memory
        self.state.tally = state.tally
        return ok()

    def _fail_allocation(self, o: op.FailAllocation) -> Outcome:
        require(o.pool in self.config.pools, f"no pool {o.pool!r}")
        armed = self.state.memory.armed
        armed[o.pool] = armed.get(o.pool, 0) + 1
        return ok()

    def _with_mamba(self, **values: int) -> dict[str, int]:
        """Numbers that only a cache with states answers."""
        return values if self.config.has_mamba else {}

    # Looking up

    def _node(self, namespace: str, tokens: tuple[int, ...]) -> Page:
        key = units(tokens, self.config.bigram)
        node = self.state.tree.find(namespace, key)
        if node is None or (tokens and not key):
            raise IllegalUse(ErrorKind.ARGUMENT, "no node spells these tokens")
        return node

    def _request(self, name: str) -> Request:
        request = self.state.requests.get(name)
        if request is None:
            raise IllegalUse(ErrorKind.PROTOCOL, f"no request {name!r} runs")
        return request

    def _require_new(self, name: str) -> None:
        known = name in self.state.requests or name in self.state.candidates
        require_pairing(not known, "the request runs or waits already")

    def _complete(self, name: str) -> Request:
        request = self._request(name)
        require_pairing(request.committed >= request.prompt_len, "the prompt is not complete")
        return request
