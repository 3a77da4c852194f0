"""The torch cache as a subject: operations in, outcomes and snapshots out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.errors import ArgumentError, BusyError, ProtocolError
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.snapshot import Observer
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import NO_RANKS, ConfigError, ErrorKind
from radixproof.model.outcome import Outcome, error, ok, refused
from radixproof.model.snapshot import Snapshot
from radixproof.model.storage import NO_STORAGE

_NO_SLOTS = "no device slots"


class TorchSubject:
    """Brings a ``TorchCache`` through a trace. Whatever the cache raises becomes an outcome."""

    def __init__(self, cache: TorchCache, name: str = "torch") -> None:
        self.cache = cache
        self.name = name

    def apply(self, operation: op.Operation) -> Outcome:
        self.cache.events.clear()
        if op.NAMES[type(operation)] not in op.OPERATIONS:
            return error(ErrorKind.ARGUMENT, "only servers do this")
        perform: Callable[[Any], Outcome] = getattr(self, f"_{op.NAMES[type(operation)]}")
        try:
            return perform(operation)
        except ArgumentError as problem:
            return error(ErrorKind.ARGUMENT, str(problem))
        except ProtocolError as problem:
            return error(ErrorKind.PROTOCOL, str(problem))
        except BusyError as problem:
            return error(ErrorKind.BUSY, str(problem))
        except Exception as problem:  # a subject that breaks is a verdict, not the end of the run
            return error(ErrorKind.INTERNAL, f"{type(problem).__name__}: {problem}")

    def snapshot(self) -> Snapshot:
        return Observer(self.cache).snapshot()

    def close(self) -> None:
        """The tensors go with the object."""

    def _match(self, o: op.Match) -> Outcome:
        found = self.cache.match(o)
        return ok(
            tuple(found.slots.tolist()),
            device_hit=found.device.end,
            best_match=found.best.end,
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            **self._states(mamba_host_hit=found.mamba_host_hit, branching=found.branching),
        )

    def _insert(self, o: op.Insert) -> Outcome:
        done = self.cache.insert(o)
        if done is None:
            return refused(_NO_SLOTS)
        return ok(prefix_len=done.prefix_len, **self._states(state_taken=int(done.state_taken)))

    def _lock(self, o: op.Lock) -> Outcome:
        return ok(delta=self.cache.lock(o))

    def _unlock(self, o: op.Unlock) -> Outcome:
        self.cache.unlock(o)
        return ok()

    def _host_lock(self, o: op.HostLock) -> Outcome:
        self.cache.host_lock(o)
        return ok()

    def _host_unlock(self, o: op.HostUnlock) -> Outcome:
        self.cache.host_unlock(o)
        return ok()

    def _evict(self, o: op.Evict) -> Outcome:
        freed = self.cache.evict(o)
        states = self._states(freed_mamba=freed[MAMBA])
        return ok(freed_full=freed[FULL], freed_swa=freed[SWA], **states)

    def _evict_host(self, o: op.EvictHost) -> Outcome:
        return ok(freed=self.cache.evict_host(o))

    def _load_back(self, o: op.LoadBack) -> Outcome:
        plan = self.cache.load_back(o)
        if plan is None:
            return refused("load-back refused")
        need = plan.need
        states = self._states(loaded_mamba=need[MAMBA])
        return ok(loaded_full=need[FULL], loaded_swa=need[SWA], **states)

    def _start_loading(self, o: op.StartLoading) -> Outcome:
        submitted = self.cache.start_loading()
        if submitted is None:
            return refused("three load submissions are unfinished")
        return ok(submitted=submitted)

    def _execute(self, o: op.Execute) -> Outcome:
        self.cache.execute(o)
        return ok()

    def _observe(self, o: op.Observe) -> Outcome:
        return ok(acknowledged=self.cache.observe(o))

    def _admit(self, o: op.Admit) -> Outcome:
        request, found, loaded = self.cache.admit(o)
        if request is None:
            return refused("no state slot")
        row = self.cache.req_to_token.read(request.row, 0, request.protected)
        return ok(
            tuple(row.tolist()),
            device_hit=found.device.end,
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            loaded=int(loaded),
            protected=request.protected,
            **self._states(mamba_host_hit=found.mamba_host_hit),
        )

    def _states(self, **values: int) -> dict[str, int]:
        """Numbers that only a cache with states answers."""
        return values if self.cache.has_mamba else {}

    def _prepare(self, o: op.Prepare) -> Outcome:
        return self._waiting(self.cache.prepare(o))

    def _waiting(self, found: MatchResult) -> Outcome:
        return ok(
            device_hit=found.device.end,
            best_match=found.best.end,
            host_hit=found.host_hit,
            swa_host_hit=found.swa_host_hit,
            **self._states(mamba_host_hit=found.mamba_host_hit),
        )

    def _proceed(self, o: op.Proceed) -> Outcome:
        request, loaded = self.cache.proceed(o)
        if request is None:
            return refused("no state slot")
        row = self.cache.req_to_token.read(request.row, 0, request.protected)
        return ok(tuple(row.tolist()), loaded=int(loaded), protected=request.protected)

    def _retract(self, o: op.Retract) -> Outcome:
        return self._waiting(self.cache.retract(o))

    def _release_window(self, o: op.ReleaseWindow) -> Outcome:
        self.cache.release_window(o)
        return ok()

    def _prefill(self, o: op.Prefill) -> Outcome:
        request, prefix_len = self.cache.prefill(o)
        if prefix_len is None:
            return refused(_NO_SLOTS)
        return ok(prefix_len=prefix_len, protected=request.protected)

    def _decode(self, o: op.Decode) -> Outcome:
        committed = self.cache.decode(o)
        return refused(_NO_SLOTS) if committed is None else ok(committed=committed)

    def _slide_window(self, o: op.SlideWindow) -> Outcome:
        request, freed = self.cache.slide_window(o)
        return ok(freed=freed, swa_evicted=request.swa_evicted)

    def _finish(self, o: op.Finish) -> Outcome:
        return ok(prefix_len=self.cache.finish(o))

    def _abort(self, o: op.Abort) -> Outcome:
        self.cache.abort(o)
        return ok()

    def _reset(self, o: op.Reset) -> Outcome:
        self.cache.reset()
        return ok()

    def _fail_allocation(self, o: op.FailAllocation) -> Outcome:
        self.cache.fail_allocation(o)
        return ok()


def open_torch(
    config: CacheConfig, device: str = "cpu", cache_class: type[TorchCache] = TorchCache
) -> TorchSubject:
    """An empty torch cache. Raises ``ConfigError`` if the device or a feature is not there."""
    if config.storage is not None:
        raise ConfigError(NO_STORAGE)
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device must be cpu or cuda, not {device!r}")
    if config.ranks > 1:
        raise ConfigError(NO_RANKS)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available; use --device cpu")
    config.require_no_server()
    return TorchSubject(cache_class(config, torch.device(device)))
