"""Pools, allocators, the FULL-to-SWA map and the ghost payloads (domain.md 4.3, 4.7)."""

from __future__ import annotations

from collections.abc import Iterable

from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.payload import NEVER_WRITTEN
from radixproof.model.tree import Slots


class Memory:
    """Every slot of every pool. Frees give back whole pages; allocation never is partial."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.page_size = config.page_size
        self.free_pages: dict[str, list[int]] = {}
        self.contents = {
            pool: [NEVER_WRITTEN] * (self.first_slot(pool) + config.pool_slots(pool))
            for pool in config.pools
        }
        self.full_to_swa = [0] * len(self.contents[FULL]) if config.has_swa else []
        self.armed: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """All slots free, in ascending order; the bytes stay what they are."""
        for pool in self.config.pools:
            first = self.first_slot(pool) // self.page_size
            pages = self.config.pool_slots(pool) // self.page_size
            self.free_pages[pool] = list(range(first, first + pages))
        self.full_to_swa = [0] * len(self.full_to_swa)
        self.armed = {}

    def first_slot(self, pool: str) -> int:
        """Device slot (page) 0 is a dummy target for padding and never handed out."""
        return 0 if pool.startswith("host_") else self.page_size

    def available(self, pool: str) -> int:
        return len(self.free_pages[pool]) * self.page_size

    # Taking

    def attempt(self, pool: str, count: int) -> Slots | None:
        """``count`` slots of one pool, or none when an armed failure strikes or it is short."""
        if count == 0:
            return ()
        if self.armed.get(pool):
            self.armed[pool] -= 1
            return None
        pages = count // self.page_size
        free = self.free_pages[pool]
        if len(free) < pages:
            return None
        taken, self.free_pages[pool] = free[:pages], free[pages:]
        return tuple(p * self.page_size + i for p in taken for i in range(self.page_size))

    def attempt_composite(self, count: int) -> Slots | None:
        """FULL slots with SWA slots mapped pairwise (where SWA is a component), or nothing."""
        before = list(self.free_pages[FULL])
        full = self.attempt(FULL, count)
        if full is None or not self.config.has_swa:
            return full
        swa = self.attempt(SWA, count)
        if swa is None:
            self.free_pages[FULL] = before
            return None
        self.map(full, swa)
        return full

    def attempt_with_state(self, count: int) -> tuple[Slots, int | None] | None:
        """With MAMBA one state slot first; then the composite attempt; both or nothing."""
        if not self.config.has_mamba:
            full = self.attempt_composite(count)
            return None if full is None else (full, None)
        before = list(self.free_pages[MAMBA])
        state = self.attempt(MAMBA, 1)
        if state is None:
            return None
        full = self.attempt_composite(count) if count > 0 else ()
        if full is None:
            self.free_pages[MAMBA] = before
            return None
        return full, state[0]

    # Giving back

    def free(self, pool: str, slots: Iterable[int]) -> None:
        """Each distinct page once: to the back of the list (page 1, host), else to the front."""
        pages = list(dict.fromkeys(slot // self.page_size for slot in slots))
        if not pages:
            return
        free = self.free_pages[pool]
        assert not set(pages) & set(free), f"double free in {pool}: {pages}"
        if self.page_size == 1 or pool.startswith("host_"):
            self.free_pages[pool] = free + pages
        else:
            self.free_pages[pool] = sorted(pages) + free

    def free_composite(self, slots: Slots) -> None:
        self.free(FULL, slots)
        self.free_swa(slots)

    def free_swa(self, full: Slots) -> int:
        """Free the SWA slots that FULL slots map to and unmap them; how many tokens had one."""
        if not self.config.has_swa:
            return 0
        swa = self.swa_of(full)
        self.free(SWA, swa)
        self.map(full, (0,) * len(full))
        return len(swa)

    # The map

    def map(self, full: Slots, swa: Slots) -> None:
        for x, y in zip(full, swa, strict=True):
            self.full_to_swa[x] = y

    def swa_of(self, full: Slots) -> Slots:
        """The SWA slots of those FULL slots that have one."""
        return tuple(y for x in full if (y := self.full_to_swa[x]))

    # Payloads

    def write(self, full: Slots, tags: Iterable[int]) -> None:
        """The forward pass: each token's KV goes into its FULL slot and the SWA slot behind it."""
        for x, tag in zip(full, tags, strict=True):
            self.contents[FULL][x] = tag
            if self.full_to_swa and self.full_to_swa[x]:
                self.contents[SWA][self.full_to_swa[x]] = tag

    def state(self, slot: int) -> int:
        """What a state slot of the device holds."""
        return self.contents[MAMBA][slot]

    def write_state(self, slot: int, tag: int) -> None:
        self.contents[MAMBA][slot] = tag

    def copy(self, source: str, source_slots: Slots, target: str, target_slots: Slots) -> None:
        for x, y in zip(source_slots, target_slots, strict=True):
            self.contents[target][y] = self.contents[source][x]
