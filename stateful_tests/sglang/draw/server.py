"""Configurations that a server of a release can have."""

from __future__ import annotations

from dataclasses import dataclass, replace

from radixproof.impl.sglang.configuration import host_ratio, host_slots
from radixproof.impl.sglang.pools import has_pages_for_layers
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.storage import PREFETCH_POLICIES, StorageConfig
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.configs import Limits, draw_config
from radixproof.stateful_tests.sglang.legal import budget, decode, states

_LARGER = (200, 105, 150, 300)
_RATIOS = (200, 200, 100, 50, 25)
"""Host slots in percent of the device's. Write-back copies what it evicts: a host pool that is
only just larger is soon full."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a release lets a configuration be."""

    host_larger_than_device: bool
    """Every host pool has more slots than its device pool."""
    tells_events: bool
    """The cache has KV events."""
    hosts_all_three: bool
    """There is a host tier for FULL, SWA and MAMBA together."""
    tracks_long_pages: bool
    """With a tracking buffer a page may be longer than a chunk of states."""
    decode_server_keeps: tuple[str, ...]
    """Components of the tree that a decode server has; none: it is not driven."""
    disables_in_place: bool
    """A server whose caching is disabled has this cache."""
    has_strategies: bool
    """Leaves are evicted by the strategy that is asked for, not always by recency."""
    stages_agree_on_host_size: bool
    """Host pools of a pipeline have equally many slots on all stages."""


def draw_server(choose: Chooser, limits: Limits, shape: Shape) -> CacheConfig:
    """A configuration that a server of the release can have: host pools by one ratio."""
    components = limits.components or choose.pick(((FULL, SWA), (FULL, SWA), (FULL,)))
    if limits.decode_server and not limits.components and SWA not in shape.decode_server_keeps:
        components = (FULL,)
    config = draw_config(choose, replace(limits, components=components))
    one = limits.ranks in (None, 1)
    config = replace(
        config,
        disable=config.disable
        and shape.disables_in_place
        and not (config.has_mamba or limits.storage)
        and one,
        kv_events=config.kv_events and shape.tells_events,
        eviction_policy=config.eviction_policy if shape.has_strategies else "lru",
        load_back_threshold=max(1, config.load_back_threshold),
        materialize_out_of_window_leaf=True,
        ranks=limits.ranks or 1,
        pipeline=limits.pipeline,
    )
    if limits.decode_server:
        config = decode.with_arrivals(config)
    if limits.budget:
        config = budget.with_budget(choose, config)
    if limits.sessions:
        config = replace(config, sessions=True, bigram=False, disable=False)
    if config.has_mamba:
        requests = choose.pick((2, 3, 1, 4))
        slots = requests * states.slots_per_request(config) + choose.pick(_spare(config))
        config = replace(config, mamba_slots=slots)
    if config.tracks_states and not shape.tracks_long_pages:
        chunk = max(config.page_size, config.mamba_chunk_size)
        config = replace(config, mamba_chunk_size=chunk)
    if config.has_mamba and config.has_swa and not shape.hosts_all_three:
        config = replace(config, host_full_slots=0, host_swa_slots=0, host_mamba_slots=0)
    if config.disable:
        config = replace(config, host_full_slots=0, host_swa_slots=0)
    if not config.has_host:
        return config
    percent = choose.pick(_LARGER if shape.host_larger_than_device else _RATIOS)
    hosted = _with_host(config, percent)
    if not has_pages_for_layers(hosted):
        hosted = _with_host(config, 200)
    if config.pipeline and not shape.stages_agree_on_host_size:
        hosted = _with_later_host(hosted, choose.pick((0, 150, 200)))
    return _with_storage(hosted, choose) if limits.storage else hosted


def _with_storage(config: CacheConfig, choose: Chooser) -> CacheConfig:
    """A storage tier below the host tier."""
    storage = StorageConfig(
        prefetch_policy=choose.pick(PREFETCH_POLICIES),
        prefetch_threshold=config.page_size * choose.pick((1, 1, 2)),
        zero_copy=choose.chance(50),
        prefix_keys=choose.chance(25),
    )
    return replace(config, storage=storage)


def _spare(config: CacheConfig) -> tuple[int, ...]:
    """State slots beyond what requests need: tracking keeps more of them busy at once."""
    return (0, 2, 4, 8) if config.tracks_states else (0, 1, 2)


def _with_host(config: CacheConfig, percent: int) -> CacheConfig:
    """Host pools of so many percent of the device's, and what the release adds."""
    pages = config.full_slots // config.page_size * percent // 100 + 1
    config = replace(config, host_full_slots=pages * config.page_size)
    ratio = host_ratio(config)
    if config.has_swa:
        slots = host_slots(config.swa_slots, ratio, config.page_size)
        config = replace(config, host_swa_slots=slots)
    if config.has_mamba:
        config = replace(config, host_mamba_slots=host_slots(config.mamba_slots, ratio, 1))
    return config


def _with_later_host(config: CacheConfig, percent: int) -> CacheConfig:
    """Stages after the first with so many percent of its host slots; 0: as many."""
    pages = config.host_full_slots // config.page_size * percent // 100
    return replace(config, later_host_full_slots=pages * config.page_size)
