"""Swarm configurations: small pools and windows around the page size, where the edges are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radixproof.model.config import (
    EVICTION_POLICIES,
    EXTRA_BUFFER_LAZY,
    FULL,
    MAMBA,
    NO_BUFFER,
    SWA,
    WRITE_BACK,
    WRITE_THROUGH,
    WRITE_THROUGH_SELECTIVE,
    CacheConfig,
)
from radixproof.stateful_tests.choose import Chooser


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user fixed; ``None`` leaves a dimension free."""

    components: tuple[str, ...] | None = None
    write_policy: str | None = None
    page_size: int | None = None
    host: bool | None = None
    bigram: bool | None = None
    kv_events: bool | None = None
    decode_server: bool = False
    """Prompts arrive computed (releases of SGLang alone)."""
    budget: bool = False
    """A scheduler's own budget admits (releases of SGLang alone)."""
    ranks: int | None = None
    """Of releases; several are drawn only when they are asked for."""
    pipeline: bool = False
    """Ranks are stages of a pipeline."""
    sessions: bool = False
    """Only servers with streaming sessions; otherwise none."""
    mamba_strategy: str | None = None
    """``None``: without a tracking buffer. A walk has one only where it is asked for."""

    @property
    def tracks_states(self) -> bool:
        return self.mamba_strategy not in (None, NO_BUFFER)

    storage: bool = False
    """There is a storage tier (releases only), and so a host tier."""

    def admit(self, config: CacheConfig) -> bool:
        """Whether a configuration lies within the limits."""
        wanted = (
            (self.components, config.components),
            (self.write_policy, config.write_policy),
            (self.page_size, config.page_size),
            (self.host, config.has_host),
            (self.bigram, config.bigram),
            (self.kv_events, config.kv_events),
            (self.ranks, config.ranks),
            (self.mamba_strategy, config.mamba_strategy),
        )
        return all(limit is None or limit == value for limit, value in wanted)


ANY = Limits()


def draw_config(choose: Chooser, limits: Limits = ANY) -> CacheConfig:
    """One configuration; every dimension that is not limited is drawn."""
    components = limits.components or choose.pick(_component_sets(limits))
    whole = MAMBA in components and not limits.tracks_states
    size = limits.page_size or (1 if whole else choose.pick((1, 1, 2, 4)))
    policy = limits.write_policy or choose.pick(
        (WRITE_THROUGH, WRITE_THROUGH, WRITE_THROUGH_SELECTIVE, WRITE_BACK)
    )
    host = choose.chance(85) if limits.host is None else limits.host
    pages = _device_pages(choose)
    host_pages = choose.pick((24, 16, 32, 8, 4, 1)) if host else 0
    with_swa, window = SWA in components, _window(choose, size)
    return CacheConfig(
        components=components,
        page_size=size,
        sliding_window=window,
        full_slots=pages * size,
        swa_slots=_swa_pages(choose, pages, -(-window // size)) * size if with_swa else 0,
        host_full_slots=host_pages * size,
        host_swa_slots=(
            choose.pick((host_pages, host_pages, max(1, host_pages // 2), 1)) * size
            if with_swa and host
            else 0
        ),
        mamba_slots=choose.pick((8, 12, 5, 3, 16, 2)) if MAMBA in components else 0,
        host_mamba_slots=choose.pick((8, 16, 3, 1)) if MAMBA in components and host else 0,
        **_states(choose, limits, components, size),
        write_policy=policy,
        load_back_threshold=choose.pick((1, 1, 0, 3)),
        materialize_out_of_window_leaf=choose.chance(25),
        eviction_policy=choose.pick(("lru", "lru", *EVICTION_POLICIES)),
        kv_events=choose.chance(20) if limits.kv_events is None else limits.kv_events,
        bigram=_bigram(choose, components) if limits.bigram is None else limits.bigram,
        disable=choose.chance(2),
    )


def _states(
    choose: Chooser, limits: Limits, components: tuple[str, ...], page: int
) -> dict[str, Any]:
    """Chunks of a state, and with a tracking buffer what a server says of it."""
    if not limits.tracks_states or MAMBA not in components:
        return {"mamba_chunk_size": choose.pick((2, 1, 3)) if MAMBA in components else 1}
    lazy = limits.mamba_strategy == EXTRA_BUFFER_LAZY
    return {
        "mamba_chunk_size": choose.pick(_chunks(page)),
        "mamba_strategy": limits.mamba_strategy,
        "mamba_track_interval": page * choose.pick((1, 2, 3, 4)),
        "overlap_schedule": lazy or choose.chance(60),
    }


def _chunks(page: int) -> list[int]:
    """A page, parts and multiples of one; a chunk of one token is told from no other (6.9)."""
    return [n for n in (page, 2 * page, page // 2, 3 * page) if n > 1]


def _bigram(choose: Chooser, components: tuple[str, ...]) -> bool:
    return MAMBA not in components and choose.chance(12)


def _component_sets(limits: Limits) -> list[tuple[str, ...]]:
    """Two components most often, and states only where a page is one token, without pairs."""
    with_states = [(FULL, SWA, MAMBA), (FULL, MAMBA), (FULL, SWA, MAMBA)]
    others = [(FULL, SWA), (FULL, SWA), (FULL, SWA), (FULL,)]
    return others if limits.page_size not in (None, 1) or limits.bigram else [*others, *with_states]


def _device_pages(choose: Chooser) -> int:
    """Mostly room for a few keys, sometimes a single page."""
    return choose.pick((12, 16, 24, 8, 16, 6, 4, 1))


def _swa_pages(choose: Chooser, pages: int, window: int) -> int:
    """As many as of FULL, or fewer: half, a few windows, a single page."""
    few = min(pages, window + choose.integer(1, 4))
    return choose.pick((pages, pages, few, max(1, pages // 2), few, 1))


def _window(choose: Chooser, page_size: int) -> int:
    """Below, equal to and above the page."""
    return choose.pick((2 * page_size, page_size, 2, max(1, page_size - 1), 1, 3, page_size + 1))
