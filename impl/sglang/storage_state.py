"""What a release shows of its storage tier (model/storage.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.storage import StorageTier
from radixproof.impl.sglang.tree import Tree
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.payload import TORN
from radixproof.model.storage import Backup, Prefetch, Slots, StorageState

COMPONENT_OF = {"kv": FULL, "swa": SWA, "mamba": MAMBA}
"""Name of a pool in the store -> component."""


def storage_state(cache: SglangCache, tree: Tree, tier: StorageTier) -> StorageState:
    """One look. ``tree``: of the same moment."""
    return _Look(cache, tree, tier).state()


class _Look:
    def __init__(self, cache: SglangCache, tree: Tree, tier: StorageTier) -> None:
        self.cache = cache
        self.tree = tree
        self.tier = tier
        self.in_flight = tier.prefetching()

    def state(self) -> StorageState:
        controller = self.tier.controller
        return StorageState(
            prefetches=tuple(sorted(self.prefetches(), key=lambda p: p.request)),
            backups=tuple(self.backups()),
            releasing=self.releasing(),
            occupied=int(controller.prefetch_tokens_occupied),
            capacity=int(controller.prefetch_capacity_limit),
            work={n: w.at or "next" for n, w in self.tier.workers().items() if w.can_go_on},
            pages=self.pages(),
            hashes=self.tree.hashes(),
            clock=self.tier.clock,
            news=self.tier.news(),
        )

    def prefetches(self) -> Iterator[Prefetch]:
        for who, entry in self.cache.tree.ongoing_prefetch.items():
            anchor, operation, transfers = entry[0], entry[3], entry[5]
            asked = self.tier.asked[who]
            yield Prefetch(
                request=asked.request,
                namespace=asked.namespace,
                tokens=asked.tokens,
                start=asked.start,
                anchor=self.tree.of(anchor),
                slots=self.taken(operation, [t for x in transfers.values() for t in x]),
                completed=int(operation.completed_tokens),
                terminated=bool(operation.is_terminated()),
            )

    def taken(self, operation: Any, transfers: list[Any]) -> dict[str, Slots]:
        """Host slots of a prefetch that its request waits for.

        Once no worker has it, what lies behind the completed pages is on its way back.
        """
        full = operation.host_indices
        if full is not None and operation.id not in self.in_flight:
            full = full[: operation.completed_tokens]
        found = {} if full is None else {FULL: _slots(full)}
        for transfer in transfers:
            component = COMPONENT_OF.get(_name(transfer.name))
            if component not in (None, FULL) and transfer.host_indices is not None:
                found[str(component)] = _slots(transfer.host_indices)
        return {c: slots for c, slots in found.items() if slots}

    def backups(self) -> Iterator[Backup]:
        writing = self.tier.writing()
        for id, entry in self.cache.tree.ongoing_backup.items():
            operation = writing.get(id)
            slots: dict[str, Slots] = {}
            hashes: tuple[str, ...] = ()
            if operation is not None:
                hashes = tuple(operation.hash_value or ())
                slots[FULL] = _slots(operation.host_indices)
                for t in getattr(operation, "pool_transfers", None) or ():
                    if t.host_indices is not None:
                        slots[COMPONENT_OF[_name(t.name)]] = _slots(t.host_indices)
            yield Backup(id, self.tree.of(entry[0]), slots, hashes)

    def releasing(self) -> dict[str, Slots]:
        found: dict[str, list[int]] = {c: [] for c in self.cache.config.components}
        controller = self.tier.controller
        queues = [("kv", controller.host_mem_release_queue)]
        queues += [(_name(n), q) for n, q in controller.extra_host_mem_release_queues.items()]
        for name, queue in queues:
            for slots in list(queue.queue):
                found[COMPONENT_OF[name]] += _slots(slots)
        current = {id(e[3]) for e in self.cache.tree.ongoing_prefetch.values()}
        for operation in self.in_flight.values():
            if id(operation) in current or operation.host_indices is None:
                continue
            found[FULL] += _slots(operation.host_indices[operation.completed_tokens :])
            if hasattr(controller, "ack_prefetch_queue") and not operation.pool_transfers_done:
                for t in operation.pool_transfers or ():
                    if t.host_indices is not None:
                        found[COMPONENT_OF[_name(t.name)]] += _slots(t.host_indices)
        return {c: tuple(slots) for c, slots in found.items() if slots}

    def pages(self) -> dict[str, dict[str, tuple[int, ...]]]:
        size = self.cache.config.page_size
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for (pool, key), page in self.tier.store.pages.items():
            found.setdefault(COMPONENT_OF[pool], {})[key] = _tags(page, size)
        return found


def _tags(page: Tensor, size: int) -> tuple[int, ...]:
    """The tag of each token of a page, layer by layer in the store."""
    rows = page.contiguous().view(torch.int64).reshape(-1, size)
    same = (rows == rows[:1]).all(0)
    return tuple(torch.where(same, rows[0], TORN).tolist())


def _slots(indices: Tensor) -> Slots:
    return tuple(indices.tolist())


def _name(of: Any) -> str:
    return str(getattr(of, "value", of))
