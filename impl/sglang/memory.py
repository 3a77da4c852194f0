"""Pools, free lists, the FULL-to-SWA map and the rows of requests: the same with every core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from radixproof.impl.sglang import payload
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.fields import held
from radixproof.impl.sglang.running import Running
from radixproof.impl.sglang.session_records import record_index
from radixproof.model.config import MAMBA
from radixproof.model.snapshot import Pool, Slots


class Memory:
    """What lies beside the tree of a cache."""

    def __init__(self, cache: SglangCache) -> None:
        self.cache = cache
        self.built = cache.built
        self.config = cache.config

    def pool(self, name: str) -> Pool:
        page = 1 if name.removeprefix("host_") == MAMBA else self.config.page_size
        host = name.startswith("host_")
        free = self._free_host(name) if host else self._free_device(name)
        return Pool(
            slots=self.config.pool_slots(name),
            page_size=page,
            first_slot=0 if host else page,
            free_pages=free,
            contents=payload.read(self.built.layers[name], by_page=host and self._page_first(name)),
        )

    def _page_first(self, name: str) -> bool:
        """Beside states, host pools of KV have each page's layers together (state_pools.py)."""
        return self.config.has_mamba and not name.endswith(MAMBA)

    def _free_device(self, component: str) -> tuple[int, ...]:
        """Page numbers. Allocators of page 1 list slots, the others pages."""
        allocator = self.built.device_allocator(component)
        if component == MAMBA:
            return _ints(allocator.free_slots)
        return (*_ints(allocator.free_pages), *_ints(getattr(allocator, "release_pages", None)))

    def _free_host(self, name: str) -> tuple[int, ...]:
        pool = self.built.host[name.removeprefix("host_")]
        free = list(_ints(pool.free_slots))
        for part in getattr(pool, "release_slots", ()):
            free.extend(_ints(part))
        page = 1 if name.removeprefix("host_") == MAMBA else self.config.page_size
        return tuple(slot // page for slot in free[::page]) if page > 1 else tuple(free)

    def map(self) -> tuple[int, ...]:
        """The FULL-to-SWA map, with the rest of a request's last page as if it were mapped.

        A page is owned as a whole, but mapped token by token as the request fills it.
        """
        if not self.config.has_swa:
            return ()
        table = _ints(self.built.allocator.full_to_swa_index_mapping[:-1])
        filled = list(table)
        for allocated, row in self._rows():
            for i in range(allocated, len(row)):
                before = filled[row[i - 1]]
                filled[row[i]] = before + 1 if before else 0
        return tuple(filled)

    def _rows(self) -> Iterator[tuple[int, Slots]]:
        """Rows of requests and sessions, each with how many of its slots are allocated by token."""
        for running in self.cache.requests.values():
            yield len(running.row), self.row(running)
        sessions = self.cache.sessions
        for name in sessions.open:
            if sessions.holds(name):
                slot = sessions.slot(name)
                yield len(self._allocated(slot)), self.row_of(slot)

    def row(self, running: Running) -> Slots:
        """The slots of a request, with the rest of the page it has begun."""
        return self._whole_pages(_ints(running.row))

    def row_of(self, slot: Any) -> Slots:
        """The same of the record that a session keeps."""
        return self._whole_pages(self._allocated(slot))

    def _allocated(self, slot: Any) -> Slots:
        count = int(held(slot, "kv_allocated_len"))
        return _ints(self.built.requests.req_to_token[record_index(slot), :count])

    def _whole_pages(self, slots: Slots) -> Slots:
        row = list(slots)
        while len(row) % self.config.page_size:
            row.append(row[-1] + 1)
        return tuple(row)


def _ints(values: Any) -> tuple[int, ...]:
    if values is None:
        return ()
    return tuple(values.tolist()) if isinstance(values, Tensor) else tuple(map(int, values))
