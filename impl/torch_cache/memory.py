"""Device and host memory of all components, and the map from FULL to SWA slots (4.3)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from radixproof.impl.torch_cache.allocator import PagedAllocator
from radixproof.impl.torch_cache.pools import KVPool
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig

NO_SLOTS = torch.empty(0, dtype=torch.int64)


class Memory:
    """Pools and allocators by name (``full``, ``swa``, ``host_full``, ...; ``CacheConfig.pools``).

    Slot lists are int64 tensors on the CPU. ``full_to_swa[x]`` is the SWA slot behind FULL slot
    ``x``, 0 if there is none.
    """

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        self.has_swa = config.has_swa
        self.has_mamba = config.has_mamba
        self.pools: dict[str, KVPool] = {}
        self.allocators: dict[str, PagedAllocator] = {}
        pinned = device.type == "cuda"
        for name in config.pools:
            on_host = name.startswith("host_")
            first = 0 if on_host else config.page_size
            slots = config.pool_slots(name)
            place = torch.device("cpu") if on_host else device
            self.pools[name] = KVPool(first + slots, place, pinned and on_host)
            self.allocators[name] = PagedAllocator(name, slots, config.page_size, first)
        size = config.page_size + config.full_slots
        self.full_to_swa = torch.zeros(size if config.has_swa else 0, dtype=torch.int64)

    def clear(self) -> None:
        """Everything free and unmapped; the bytes stay what they are."""
        for allocator in self.allocators.values():
            allocator.clear()
        self.full_to_swa.zero_()

    def available(self, pool: str) -> int:
        return self.allocators[pool].available

    def allocate(self, pool: str, count: int) -> Tensor | None:
        return self.allocators[pool].allocate(count) if count else NO_SLOTS

    def allocate_composite(self, count: int) -> Tensor | None:
        """FULL slots with SWA slots mapped pairwise (where there is SWA), or nothing."""
        full = self.allocate(FULL, count)
        if full is None or not self.has_swa or not count:
            return full
        swa = self.allocate(SWA, count)
        if swa is None:
            self.allocators[FULL].untake(full)
            return None
        self.full_to_swa[full] = swa
        return full

    def allocate_with_state(self, count: int) -> tuple[Tensor, Tensor] | None:
        """Slots for ``count`` tokens and, with MAMBA, one state slot; both or nothing."""
        state = self.allocate(MAMBA, 1) if self.has_mamba else NO_SLOTS
        if state is None:
            return None
        full = self.allocate_composite(count)
        if full is None:
            if len(state):
                self.allocators[MAMBA].untake(state)
            return None
        return full, state

    def free(self, pool: str, slots: Tensor) -> None:
        if len(slots):
            self.allocators[pool].free(slots)

    def free_composite(self, full: Tensor) -> None:
        """FULL slots and the SWA slots behind them."""
        self.free(FULL, full)
        self.free_swa(full)

    def free_swa(self, full: Tensor) -> int:
        """The SWA slots behind FULL slots; how many there were."""
        if not self.has_swa or not len(full):
            return 0
        swa = self.full_to_swa[full]
        swa = swa[swa != 0]
        self.free(SWA, swa)
        self.full_to_swa[full] = 0
        return len(swa)

    def read_state(self, slot: Tensor) -> int:
        """The tag of one state slot of the device."""
        return self.pools[MAMBA].read_slot(int(slot))

    def write_state(self, slot: Tensor, tag: int) -> None:
        """A forward pass leaves its state; ``NEVER_WRITTEN`` zeroes the slot."""
        self.pools[MAMBA].write(slot, [tag])

    def copy_state(self, source: Tensor, target: Tensor) -> None:
        """Device to device: copy-on-write, and the fork for the tree."""
        kv = self.pools[MAMBA].kv
        kv[:, :, target] = kv[:, :, source]

    def write(self, full: Tensor, tags: Iterable[int]) -> None:
        """The forward pass: a token's KV goes into its FULL slot and the SWA slot behind it."""
        tags = list(tags)
        self.pools[FULL].write(full, tags)
        if self.has_swa and len(full):
            swa = self.full_to_swa[full]
            live = swa != 0
            self.pools[SWA].write(
                swa[live], (t for t, keep in zip(tags, live.tolist(), strict=True) if keep)
            )
