"""A store in memory, as the release's own interface ``HiCacheStorage`` wants it.

Contract kept: pages lie under (pool, page hash), byte for byte as they were written; looking up a
prefix counts the leading pages that are there, and with further pools the longest prefix for which
each pool has what its policy asks for (all pages, or the trailing ones); a call may serve fewer
pages than there are, in order, or raise. Nothing else: no time, no eviction of its own.

Imported by the release's own factory (``dynamic`` backend), after the release.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage, PoolTransferResult
from torch import Tensor

from radixproof.impl.sglang.release import accepted
from radixproof.impl.sglang.storage_threads import Unreachable, this_worker

KV = "kv"


class MemoryStore(HiCacheStorage):  # type: ignore[misc]
    """See the module. One store for each cache."""

    def __init__(self, storage_config: Any, kwargs: Any = None) -> None:
        self.pages: dict[tuple[str, str], Tensor] = {}
        """Oldest first."""

    # One pool

    def exists(self, key: str) -> bool:
        return (KV, key) in self.pages

    def batch_exists(self, keys: Sequence[str], extra_info: Any = None) -> int:
        return _at_most(_before("exists"), self._prefix(KV, keys))

    def get(self, key: str, target_location: Any = None, target_sizes: Any = None) -> Any:
        return self.pages.get((KV, key))

    def batch_get(
        self, keys: Sequence[str], target_locations: Any = None, target_sizes: Any = None
    ) -> list[Any]:
        served = _at_most(_before("get"), len(keys))
        return [self.pages.get((KV, k)) if i < served else None for i, k in enumerate(keys)]

    def set(
        self, key: str, value: Any = None, target_location: Any = None, target_sizes: Any = None
    ) -> bool:
        self.pages[KV, key] = value.clone()
        return True

    def batch_set(
        self,
        keys: Sequence[str],
        values: Any = None,
        target_locations: Any = None,
        target_sizes: Any = None,
    ) -> bool:
        served = _at_most(_before("set"), len(keys))
        for key, value in list(zip(keys, values, strict=True))[:served]:
            self.set(key, value)
        return served == len(keys)

    # Into and out of host slots

    def batch_get_v1(
        self, keys: Sequence[str], host_indices: Tensor, extra_info: Any = None
    ) -> list[bool]:
        return self._read(KV, keys, host_indices, self.mem_pool_host, _before("get"))

    def batch_set_v1(
        self, keys: Sequence[str], host_indices: Tensor, extra_info: Any = None
    ) -> list[bool]:
        return self._write(KV, keys, host_indices, self.mem_pool_host, _before("set"))

    # Several pools

    def batch_exists_v2(
        self, keys: Sequence[str], pool_transfers: Any = None, extra_info: Any = None
    ) -> Any:
        kv = _at_most(_before("exists"), self._prefix(KV, keys))
        hits, ends = ({KV: kv} if kv else {}), list(range(1, kv + 1))
        for transfer in pool_transfers or ():
            good = self._ends(transfer, keys, kv)
            if good:
                hits[transfer.name] = max(good)
            ends = [end for end in ends if end in good]
        known = accepted(PoolTransferResult, restorable_prefix_pages=ends)
        return PoolTransferResult(ends[-1] if ends else 0, hits, **known)

    def _ends(self, transfer: Any, keys: Sequence[str], kv: int) -> list[int]:
        """How long a prefix may be, in pages, for this pool to have what it needs of it."""
        name = _name(transfer.name)
        if _name(transfer.hit_policy) == "all_pages":
            return list(range(1, self._prefix(name, keys[:kv]) + 1))
        trailing = max(1, len(transfer.keys or ()))
        there = [(name, key) in self.pages for key in keys[:kv]]
        return [end for end in range(1, kv + 1) if all(there[max(0, end - trailing) : end])]

    def batch_get_v2(self, transfers: Iterable[Any], extra_info: Any = None) -> dict[Any, Any]:
        limit = _before("get")
        return {t.name: self._pool(self._read, t, limit) for t in transfers}

    def batch_set_v2(self, transfers: Iterable[Any], extra_info: Any = None) -> dict[Any, Any]:
        limit = _before("set")
        return {t.name: self._pool(self._write, t, limit) for t in transfers}

    def _pool(self, move: Any, transfer: Any, limit: int | None) -> list[bool]:
        pool = self.registered_pools[transfer.name]
        done: list[bool] = move(
            _name(transfer.name), transfer.keys or (), transfer.host_indices, pool, limit
        )
        return done

    # Pages

    def _prefix(self, pool: str, keys: Sequence[str]) -> int:
        missing = (i for i, key in enumerate(keys) if (pool, key) not in self.pages)
        return next(missing, len(keys))

    def _read(
        self, pool: str, keys: Sequence[str], slots: Tensor | None, host: Any, limit: int | None
    ) -> list[bool]:
        if not _fits(keys, slots, host):
            return [False] * len(keys)
        served = _at_most(limit, len(keys))
        done = []
        for i, key in enumerate(keys):
            page = self.pages.get((pool, key)) if i < served else None
            if page is not None and slots is not None:
                host.set_from_flat_data_page(int(slots[i * host.page_size]), page)
            done.append(page is not None)
        return done

    def _write(
        self, pool: str, keys: Sequence[str], slots: Tensor | None, host: Any, limit: int | None
    ) -> list[bool]:
        if not _fits(keys, slots, host):
            return [False] * len(keys)
        served = _at_most(limit, len(keys))
        for i, key in enumerate(keys[:served]):
            if slots is not None:
                page = host.get_data_page(int(slots[i * host.page_size]))
                self.pages[pool, key] = page.clone()
        return [i < served for i in range(len(keys))]

    # The store's own doings

    def lose(self, count: int) -> None:
        """The oldest pages are gone, each with all its components."""
        oldest = list(dict.fromkeys(key for _, key in self.pages))[:count]
        self.pages = {at: page for at, page in self.pages.items() if at[1] not in oldest}

    def clear(self) -> None:
        self.pages.clear()


def _fits(keys: Sequence[str], slots: Tensor | None, host: Any) -> bool:
    """A backend serves nothing where keys and slots do not pair up."""
    return slots is not None and torch.numel(slots) == len(keys) * host.page_size


def _before(call: str) -> int | None:
    """A worker stops before it asks the store; how many pages it is served then."""
    worker = this_worker()
    if worker is None:
        return None
    worker.wait(call)
    limit, raises = worker.pages, worker.raises
    worker.pages, worker.raises = None, False
    if raises:
        raise Unreachable("the store does not answer")
    return limit


def _at_most(limit: int | None, count: int) -> int:
    return count if limit is None else min(limit, count)


def _name(of: Any) -> str:
    return str(getattr(of, "value", of))
