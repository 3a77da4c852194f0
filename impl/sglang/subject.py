"""A release as a subject: operations in, outcomes and snapshots out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from radixproof.impl.sglang import fields, held
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.configuration import ALONE, Place
from radixproof.impl.sglang.outward import outward
from radixproof.impl.sglang.pools import build
from radixproof.impl.sglang.release import Release
from radixproof.impl.sglang.running import Admitted, Hits, Running
from radixproof.impl.sglang.sessions import require_session
from radixproof.impl.sglang.snapshot import Observer
from radixproof.impl.sglang.storage import StorageTier
from radixproof.impl.sglang.transfers import slots_of
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import ErrorKind, IllegalUse, require, require_pairing
from radixproof.model.outcome import Outcome, error, ok, refused
from radixproof.model.snapshot import Snapshot
from radixproof.model.storage import WORKERS
from radixproof.model.storage_operations import (
    BeginPrefetch,
    CheckPrefetch,
    Elapse,
    LosePages,
    PollStorage,
    StorageWork,
)
from radixproof.model.units import units

FRAMES = 12
"""Innermost frames of a traceback that a verdict keeps."""


class SglangSubject:
    """Brings a release's cache through a trace. Whatever it raises becomes an outcome."""

    def __init__(self, cache: SglangCache, name: str) -> None:
        self.cache = cache
        self.name = name
        self._observer: Observer | None = None
        self.traceback = ""
        """Of the exception that the last operation ended with."""

    def apply(self, operation: op.Operation) -> Outcome:
        perform: Callable[[Any], Outcome] = getattr(self, f"_{op.NAMES[type(operation)]}")
        try:
            return perform(operation)
        except IllegalUse as illegal:
            return error(illegal.kind, illegal.reason)
        except BaseException as problem:
            if not (isinstance(problem, Exception) or is_panic(problem)):
                raise
            self.traceback = traceback.format_exc(limit=-FRAMES)
            return error(ErrorKind.INTERNAL, where(problem))
        finally:
            self._observer = None
            self.cache.copies.transfers.note()
            self.cache.kv_events.take()

    def snapshot(self) -> Snapshot:
        return self.observer().snapshot()

    def outward(self) -> dict[str, Any]:
        """What can be compared with a subject whose tree cannot be read (outward.py)."""
        return outward(self.cache)

    def observer(self) -> Observer:
        """One look, shared by whoever needs it before the next operation."""
        if self._observer is None:
            self._observer = Observer(self.cache)
        return self._observer

    def check_itself(self) -> str | None:
        """The release's own ``sanity_check``, and its count of what sessions hold (held.py)."""
        try:
            self.cache.tree.sanity_check()
        except BaseException as problem:
            if isinstance(problem, AssertionError) or is_panic(problem):
                return str(problem)
            raise
        if self.cache.config.sessions:
            return held.complaint(self.cache, self.observer().memory)
        return None

    def close(self) -> None:
        """End the threads of a storage tier; all else goes with the objects."""
        self.cache.close()

    def _node(self, namespace: str, tokens: tuple[int, ...]) -> Any:
        node = self.observer().tree.node_at(namespace, units(tokens, self.cache.config.bigram))
        if node is None:
            raise IllegalUse(ErrorKind.ARGUMENT, "no node spells these tokens")
        return node

    def _match(self, o: op.Match) -> Outcome:
        found = self.cache.clients.match(o.namespace, o.tokens)
        self._observer = None
        return ok(
            found.slots,
            device_hit=len(found.slots),
            **self._best_match(found.best_match_node),
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            **self._of_states(mamba_host_hit=found.mamba_host_hit, branching=found.branching),
        )

    def _of_states(self, **values: int) -> dict[str, int]:
        """What an outcome says with MAMBA only."""
        return values if self.cache.config.has_mamba else {}

    def _hits(self, hits: Hits) -> dict[str, int]:
        told = asdict(hits)
        return {**told, **self._of_states(mamba_host_hit=told.pop("mamba_host_hit"))}

    def _best_match(self, node: Any) -> dict[str, int]:
        """Tokens up to a node."""
        tree = self.observer().tree
        index = tree.of(node)
        return {"best_match": len(tree.spelled[index]) if index >= 0 else 0}

    def _insert(self, o: op.Insert) -> Outcome:
        page, length = self.cache.config.page_size, self.cache.clients.aligned(o.tokens)
        require(bool(o.tokens), "an insert needs tokens")
        require(0 <= o.swa_evicted <= length, "swa_evicted lies outside the aligned key")
        require(o.swa_evicted % page == 0, "swa_evicted is not page-aligned")
        require(self.cache.config.has_swa or not o.swa_evicted, "swa_evicted without SWA")
        told = self.cache.clients.insert(o)
        return refused("no device slots") if told is None else ok(**told)

    def _lock(self, o: op.Lock) -> Outcome:
        return ok(delta=self.cache.clients.lock(o.holder, self._node(o.namespace, o.tokens)))

    def _unlock(self, o: op.Unlock) -> Outcome:
        self.cache.clients.unlock(o.holder)
        return ok()

    def _host_lock(self, o: op.HostLock) -> Outcome:
        require(self.cache.config.has_host and bool(o.tokens), "nothing to lock on the host")
        self.cache.clients.host_lock(o.holder, self._node(o.namespace, o.tokens))
        return ok()

    def _host_unlock(self, o: op.HostUnlock) -> Outcome:
        self.cache.clients.host_unlock(o.holder)
        return ok()

    def _evict(self, o: op.Evict) -> Outcome:
        require(min(o.full, o.swa, o.mamba) >= 0, "a negative number of tokens")
        require(self.cache.config.has_swa or not o.swa, "there is no SWA")
        require(self.cache.config.has_mamba or not o.mamba, "there is no MAMBA")
        return ok(**self.cache.clients.evict(o.full, o.swa, o.mamba))

    def _evict_host(self, o: op.EvictHost) -> Outcome:
        config = self.cache.config
        require(o.count >= 0, "a negative number of tokens")
        require(o.component in config.components, f"no component {o.component!r}")
        require(config.has_host, "there is no host tier")
        return ok(freed=self.cache.clients.evict_host(o.count, o.component))

    def _load_back(self, o: op.LoadBack) -> Outcome:
        require(bool(o.tokens), "the root is no load target")
        node = self._node(o.namespace, o.tokens)
        moves = self.cache.clients.load_back(node, o.mem_quota)
        if moves is None:
            return refused("load-back refused")
        return ok(
            loaded_full=slots_of(moves, FULL),
            loaded_swa=slots_of(moves, SWA),
            **self._of_states(loaded_mamba=slots_of(moves, MAMBA)),
        )

    def _start_loading(self, o: op.StartLoading) -> Outcome:
        if len(self.cache.copies.unfinished(op.LOAD)) >= 3:
            return refused("three load submissions are unfinished")
        return ok(submitted=self.cache.copies.start_loading())

    def _execute(self, o: op.Execute) -> Outcome:
        require(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        require(o.rank in (None, 0), f"no rank {o.rank}")
        if o.stream == op.WRITE:
            self.cache.copies.submit_writes()
        waiting = self.cache.copies.unfinished(o.stream)
        if not waiting:
            raise IllegalUse(ErrorKind.PROTOCOL, f"nothing waits on the {o.stream} stream")
        waiting[0].synchronize()
        return ok()

    def _observe(self, o: op.Observe) -> Outcome:
        require(o.stream in op.STREAMS, f"no stream {o.stream!r}")
        require(o.limit is None or o.limit >= 0, "a negative limit")
        return ok(acknowledged=self.cache.copies.observe(o.stream, o.limit))

    def _admit(self, o: op.Admit) -> Outcome:
        require(bool(o.tokens), "a request needs tokens")
        self._require_unknown(o.request)
        return self._admitted(self.cache.admit(o))

    def _admitted(self, found: tuple[Running, Admitted] | None) -> Outcome:
        if found is None:
            return refused("the budget does not reach")
        running, admitted = found
        return ok(
            tuple(running.row[: admitted.hits.device_hit].tolist())
            if self.cache.decode_server.in_force
            else tuple(running.row.tolist()),
            **self._hits(admitted.hits),
            loaded=int(admitted.loaded),
            protected=fields.protected(running.req),
        )

    def _prepare(self, o: op.Prepare) -> Outcome:
        require(bool(o.tokens), "a request needs tokens")
        self._require_unknown(o.request)
        return self._prepared(
            self.cache.lifecycle.new(o.request, o.namespace, o.tokens, o.priority)
        )

    def _prepared(self, new: Running) -> Outcome:
        hits = self.cache.queue.prepare(new)
        self._observer = None
        best = self._best_match(new.req.best_match_node)
        self.cache.queue.note_best_match(new.name, best.get("best_match", 0))
        return ok(**self._hits(hits), **best)

    def _proceed(self, o: op.Proceed) -> Outcome:
        require_pairing(o.request in self.cache.queue.waiting, "no such request waits")
        admitted = self.cache.queue.proceed(o.request, load_back=o.load_back, mem_quota=o.mem_quota)
        return self._admitted(admitted)

    def _retract(self, o: op.Retract) -> Outcome:
        self.cache.queue.retract(self._running(o.request))
        return ok()

    def _prefill(self, o: op.Prefill) -> Outcome:
        running = self._running(o.request)
        left = running.prompt_len - running.committed
        require(1 <= o.count <= left, f"count must be from 1 to {left}")
        why = self.cache.prefill(running, o.count)
        if why:
            return refused(why)
        return ok(protected=fields.protected(running.req))

    def _decode(self, o: op.Decode) -> Outcome:
        running = self._complete(o.request)
        require(bool(o.tokens), "a decode step needs tokens")
        require(o.ahead >= 0, "slots for a negative number of tokens")
        more = len(running.tokens) + len(o.tokens) - running.origin_len
        most = self.cache.config.max_new_tokens
        require_pairing(not most or more <= most, "the request has had all its output")
        if not self.cache.decode(running, o.tokens, o.ahead):
            return refused("no device slots")
        return ok(committed=running.committed)

    def _slide_window(self, o: op.SlideWindow) -> Outcome:
        require(self.cache.config.has_swa, "there is no SWA")
        running = self._complete(o.request)
        self.cache.lifecycle.windows.slide(running)
        return ok(swa_evicted=fields.swa_evicted(self.cache.built, running.req))

    def _finish(self, o: op.Finish) -> Outcome:
        self.cache.finish(self._complete(o.request))
        return ok()

    def _abort(self, o: op.Abort) -> Outcome:
        storage, waiting = self.cache.storage, self.cache.queue.waiting.get(o.request)
        if waiting is not None and storage is not None:
            storage.give_up(waiting.running.req)
        if not self.cache.queue.abort(o.request):
            self.cache.abort(self._running(o.request))
        return ok()

    def _tier(self) -> StorageTier:
        storage = self.cache.storage
        if storage is None:
            raise IllegalUse(ErrorKind.ARGUMENT, "there is no storage tier")
        return storage

    def _waiting(self, name: str) -> Running:
        require_pairing(name in self.cache.queue.waiting, "no such request waits")
        return self.cache.queue.waiting[name].running

    def _begin_prefetch(self, o: BeginPrefetch) -> Outcome:
        return ok(prefetching=self._tier().begin(self._waiting(o.request)))

    def _check_prefetch(self, o: CheckPrefetch) -> Outcome:
        loaded = self._tier().ready(self._waiting(o.request).req)
        return refused("it is waited for") if loaded is None else ok(from_storage=loaded)

    def _storage_work(self, o: StorageWork) -> Outcome:
        require(o.worker in WORKERS, f"no worker {o.worker!r}")
        require(o.pages is None or o.pages >= 0, "a negative number of pages")
        self._tier().work(o.worker, o.pages, raises=o.raises)
        return ok()

    def _poll_storage(self, o: PollStorage) -> Outcome:
        return ok(**self._tier().poll())

    def _elapse(self, o: Elapse) -> Outcome:
        require(o.seconds > 0, "time passes forwards")
        self._tier().elapse(o.seconds)
        return ok()

    def _lose_pages(self, o: LosePages) -> Outcome:
        require(o.count > 0, "a store loses at least one page")
        self._tier().lose(o.count)
        return ok()

    def _reset(self, o: op.Reset) -> Outcome:
        cache = self.cache
        busy = cache.requests or cache.queue.waiting or cache.clients.hold_locks
        if cache.built.controller is not None:
            busy = busy or cache.tree.ongoing_write_through or cache.tree.ongoing_load_back
        if busy:
            raise IllegalUse(ErrorKind.BUSY, "requests, locks or transfers are in flight")
        cache.reset()
        return ok()

    def _release_window(self, o: op.ReleaseWindow) -> Outcome:
        require(self.cache.config.has_swa, "there is no SWA")
        running = self._complete(o.request)
        require_pairing(
            self.cache.lifecycle.windows.release_early(running), "nothing is there to release early"
        )
        return ok()

    def _open_session(self, o: op.OpenSession) -> Outcome:
        sessions = self.cache.sessions
        require_pairing(o.session not in sessions.open, "the session is open")
        return ok() if sessions.start(o.session) else refused("the server does not open it")

    def _turn(self, o: op.Turn) -> Outcome:
        require(bool(o.tokens), "a turn needs tokens")
        ledger = require_session(self.cache.sessions, o.session)
        require_pairing(not ledger.closing, "the session is closing")
        self._require_unknown(o.request)
        new = self.cache.sessions.turn(o)
        if new.rejected:
            self.cache.queue.wait(new)
            return ok(accepted=0)
        told = self._prepared(new) if o.waits else self._admitted(self.cache.turn(new, o.load_back))
        return replace(told, values={**told.values, "accepted": 1})

    def _close_session(self, o: op.CloseSession) -> Outcome:
        require_session(self.cache.sessions, o.session)
        return ok(closed=int(self.cache.sessions.close(o.session)))

    def _fail_allocation(self, o: op.FailAllocation) -> Outcome:
        raise IllegalUse(ErrorKind.ARGUMENT, "a release's allocations fail by shortage alone")

    def _require_unknown(self, name: str) -> None:
        known = name in self.cache.requests or name in self.cache.queue.waiting
        require_pairing(not known, "the request runs or waits already")

    def _running(self, name: str) -> Any:
        running = self.cache.requests.get(name)
        if running is None:
            raise IllegalUse(ErrorKind.PROTOCOL, f"no request {name!r} runs")
        return running

    def _complete(self, name: str) -> Any:
        running = self._running(name)
        require_pairing(running.committed >= running.prompt_len, "the prompt is not complete")
        return running


def is_panic(problem: BaseException) -> bool:
    """A panic of compiled code, which comes as an exception that is no ``Exception``."""
    return type(problem).__name__ == "PanicException"


def where(problem: BaseException) -> str:
    """An exception in one line, with the innermost place in the release that raised it."""
    inside = _frames_inside(problem)
    told = f"{type(problem).__name__}: {problem}".splitlines()[0][:300]
    if not inside:
        return told
    last = inside[-1]
    return f"{told} ({last.filename.split('/sglang/srt/')[-1]}:{last.lineno}, {last.name})"


def from_release(problem: BaseException) -> bool:
    """Whether the release raised it, or passed it on; otherwise the fault is ours."""
    return bool(_frames_inside(problem))


def _frames_inside(problem: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(problem.__traceback__)
    return [f for f in frames if "/sglang/srt/" in f.filename]


def open_sglang(
    release: Release, config: CacheConfig, core: str, name: str, place: Place = ALONE
) -> SglangSubject:
    """An empty cache of a release. Raises ``ConfigError`` for what the release cannot be."""
    return SglangSubject(SglangCache(build(release, config, core, place)), name)
