"""Building a release's pools, allocators and cache for one configuration."""

from __future__ import annotations

import atexit
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang import configuration, state_pools
from radixproof.impl.sglang.configuration import ALONE, Place
from radixproof.impl.sglang.ranks.collectives import Group
from radixproof.impl.sglang.release import Release, accepted
from radixproof.impl.sglang.wheels import PYTHON, RUST
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import WRITE
from radixproof.model.options import (
    DISABLES_ELSEWHERE,
    HIDES_LOCKS,
    HIDES_TRACKING,
    RECENCY_ALONE,
    TELLS_NO_EVENTS,
)

LAYERS = 2
"""Layers of each kind: enough to tell a torn copy from a whole one."""
REQUESTS = 8
CONTEXT = 256
"""Tokens in a row of the request table; in a larger pool, as many as that holds."""
KV_TYPE = torch.int64
"""Elements of the pools: copies are blind to the type, and a 48-bit tag fits in one."""


@dataclass(slots=True)
class Built:
    """One cache with everything around it. ``allocators`` by pool: what has its free list."""

    config: CacheConfig
    release: Release
    tree: Any
    allocator: Any
    requests: Any
    layers: dict[str, list[Tensor]]
    """Pool -> its K and V tensors, layer by layer, each (slots, heads, dim)."""
    host: dict[str, Any]
    """Component -> host pool."""

    @property
    def has_rust_core(self) -> bool:
        """Nodes are numbers without objects behind them."""
        return _is_rust(self.tree)

    @property
    def options(self) -> frozenset[str]:
        """Legal differences of the release, and what its core hides."""
        return options_of(self.release, RUST if self.has_rust_core else PYTHON)

    @property
    def controller(self) -> Any:
        return self.tree.cache_controller

    def queues(self, stream: str) -> tuple[Sequence[Any], Sequence[Any]]:
        """Copies that are queued on a stream, and acknowledgements that it still owes."""
        controller = self.controller
        if controller is None:
            return (), ()
        if stream == WRITE:
            return controller.write_queue, controller.ack_write_queue
        return controller.load_queue, controller.ack_load_queue

    def device_allocator(self, component: str) -> Any:
        if component == MAMBA:
            # Until 0.5.12 the pool hands its slots out itself.
            return getattr(self.requests, "mamba_allocator", self.requests.mamba_pool)
        if not self.config.has_swa:
            return self.allocator
        name = "full_attn_allocator" if component == FULL else "swa_attn_allocator"
        return getattr(self.allocator, name)


def build(release: Release, config: CacheConfig, core: str, place: Place = ALONE) -> Built:
    """An empty cache. Raises ``ConfigError`` for a configuration that the release cannot have."""
    require_possible(release, config)
    if config.ranks != place.ranks:
        raise ConfigError("several ranks run with check and replay only")
    config = replace(config, materialize_out_of_window_leaf=True)  # a veto loses valid KV (29351)
    arguments = configuration.server_arguments(config)
    configuration.publish(release.context, arguments, place)
    requests = _request_table(release, config)
    pools, allocator = _device_pools(release, config, requests)
    types = release.ComponentType
    os.environ["SGLANG_UNIFIED_RADIX_TREE_CORE_BACKEND"] = core  # how 0.5.19 and 0.5.20 choose
    params = release.CacheInitParams(
        **accepted(
            release.CacheInitParams,
            disable=config.disable,
            is_eagle=config.bigram,
            enable_kv_cache_events=config.kv_events,
            enable_mamba_extra_buffer=config.tracks_states,
            req_to_token_pool=requests,
            token_to_kv_pool_allocator=allocator,
            page_size=config.page_size,
            sliding_window_size=config.sliding_window if config.has_swa else None,
            tree_components=tuple(getattr(types, c.upper()) for c in config.components),
            tree_core_backend=core,
            eviction_policy=config.eviction_policy,
            **_groups(place),
        )
    )
    tree = release.UnifiedRadixCache(params)
    _silence(tree)
    _require_core(tree, core)
    host: dict[str, Any] = {}
    layers = {c: [*pool.k_buffer, *pool.v_buffer] for c, pool in pools.items()}
    if config.has_mamba:
        layers[MAMBA] = state_pools.device_layers(requests)
    if config.has_host:
        host = _host_pools(tree, arguments, params, config)
        layers |= {f"host_{c}": _host_layers(c, pool, config) for c, pool in host.items()}
    return Built(config, release, tree, allocator, requests, layers, host)


def _groups(place: Place) -> dict[str, Any]:
    """Process groups, as a scheduler hands them over; none where there is one rank."""
    if place == ALONE:
        return {}
    tensor, stages = (ALONE, place) if place.pipeline else (place, ALONE)
    return {
        "tp_cache_group": Group("tp", tensor.rank, tensor.ranks),
        "attn_tp_cache_group": Group("attn_tp", tensor.rank, tensor.ranks),
        "attn_cp_cache_group": Group("attn_cp", 0, 1),
        "pp_cache_group": Group("pp", stages.rank, stages.ranks),
        "pp_rank": stages.rank,
        "pp_size": stages.ranks,
    }


def require_possible(release: Release, config: CacheConfig) -> None:
    """Host pools are sized by one ratio, and in some releases larger than the device's."""
    if config.ranks > 1 and config.has_mamba:
        raise ConfigError("several ranks are driven without mamba so far")
    if config.later_host_full_slots and release.stages_agree_on_host_size:
        raise ConfigError("stages of this release have equally many host slots")
    if config.ranks > 1 and config.disable:
        raise ConfigError("several ranks are driven with their cache enabled")
    if config.disable and DISABLES_ELSEWHERE in release.options:
        raise ConfigError("a server of this release has another cache where caching is disabled")
    if config.disable and (config.has_host or config.has_mamba):
        raise ConfigError("a disabled cache is driven without host tier and mamba so far")
    if config.max_new_tokens and (config.disable or config.has_mamba):
        raise ConfigError("a scheduler's budget is driven with a cache, and without mamba, so far")
    if config.decode_server and config.ranks > 1:
        raise ConfigError("decode servers are driven on one rank so far")
    if config.decode_server:
        if not set(config.components) <= set(release.decode_server_keeps):
            raise ConfigError(not_of_a_decode_server(release.decode_server_keeps))
        if config.has_host or config.has_mamba or config.bigram or config.disable:
            raise ConfigError("decode servers are driven with one tier, without mamba and bigram")
        if config.max_new_tokens:
            raise ConfigError("a decode server asks no budget for a prefill")
    if config.kv_events and TELLS_NO_EVENTS in release.options:
        raise ConfigError("the cache of this release tells no KV events")
    if config.eviction_policy != "lru" and RECENCY_ALONE in release.options:
        raise ConfigError("the cache of this release evicts by recency alone: eviction_policy lru")
    if config.tracks_states and release.result_processor is None:
        raise ConfigError("mamba_strategy extra_buffer is driven from SGLang 0.5.13 on")
    longer = config.page_size > config.mamba_chunk_size
    if config.tracks_states and longer and not release.tracks_long_pages:
        raise ConfigError("this release loses states where page_size exceeds mamba_chunk_size")
    if config.storage is not None and not release.has_storage:
        raise ConfigError("the unified cache of this release has no storage tier")
    if config.storage is not None and (config.has_mamba or config.sessions or config.ranks > 1):
        raise ConfigError("the storage tier is driven without mamba, sessions and ranks so far")
    if config.load_back_threshold < 1:
        raise ConfigError("SGLang loads back at least one token: load_back_threshold >= 1")
    if config.sessions:
        _require_sessions(release, config)
    if not config.has_host:
        return
    if config.has_swa and config.has_mamba and not release.hosts_all_three:
        raise ConfigError("this release has no host tier for full,swa,mamba: host_full_slots 0")
    if not has_pages_for_layers(config):
        raise ConfigError(f"beside states, host pools want at least {LAYERS} pages")
    sizes = [(FULL, config.full_slots, config.host_full_slots)]
    if config.has_swa:
        sizes.append((SWA, config.swa_slots, config.host_swa_slots))
    if config.has_mamba:
        sizes.append((MAMBA, config.mamba_slots, config.host_mamba_slots))
    for component, device, host in sizes:
        page = 1 if component == MAMBA else config.page_size
        wanted = configuration.host_slots(device, configuration.host_ratio(config), page)
        if host != wanted:
            raise ConfigError(
                f"SGLang sizes all host pools by one ratio: host_{component}_slots"
                f" must be {wanted} here, not {host}"
            )
        if release.host_larger_than_device and host <= device:
            raise ConfigError("this release wants each host pool larger than its device pool")


def _require_sessions(release: Release, config: CacheConfig) -> None:
    if release.session_controller is None:
        raise ConfigError("the unified cache of this release has no streaming sessions")
    if config.has_mamba or config.bigram or config.disable or config.max_new_tokens:
        raise ConfigError("sessions are driven without mamba, bigram, disable and budget so far")
    if config.ranks > 1:
        raise ConfigError("sessions are driven on one rank so far")


def not_of_a_decode_server(keeps: Collection[str]) -> str:
    """What is told where other components are asked for than a decode server of a release has."""
    if not keeps:
        return "a decode server of this release is not driven"
    return "a decode server of this release has no radix cache beside sliding windows"


def has_pages_for_layers(config: CacheConfig) -> bool:
    """Until 0.5.21 a page-first host pool, when made, reads as many pages as it has layers."""
    pools = [p for p in config.pools if p in ("host_full", "host_swa")]
    pages = [config.pool_slots(p) // config.page_size for p in pools]
    return not config.has_mamba or all(n >= LAYERS for n in pages)


def _request_table(release: Release, config: CacheConfig) -> Any:
    context = max(CONTEXT, config.full_slots)
    if config.has_mamba:
        first = LAYERS * len(config.auxiliary)
        return state_pools.request_table(release, config, REQUESTS, context, first)
    return release.memory_pool.ReqToTokenPool(
        size=REQUESTS, max_context_len=context, device="cpu", enable_memory_saver=False
    )


def _device_pools(
    release: Release, config: CacheConfig, requests: Any
) -> tuple[dict[str, Any], Any]:
    """KV pools by component, and the allocator over them."""
    common = {
        "page_size": config.page_size,
        "dtype": KV_TYPE,
        "head_num": 1,
        "head_dim": 1,
        "device": "cpu",
    }
    if config.has_mamba and not config.has_swa:
        pool = state_pools.full_pool(release, config, requests, LAYERS, common)
        return {FULL: pool.full_kv_pool}, _plain_allocator(release, config, pool)
    if not config.has_swa:
        pool = release.memory_pool.MHATokenToKVPool(
            size=config.full_slots, layer_num=LAYERS, enable_memory_saver=False, **common
        )
        return {FULL: pool}, _plain_allocator(release, config, pool)
    kind = release.swa_memory_pool.SWAKVPool
    # Until 0.5.14 the constructor also wants ``enable_kvcache_transpose``.
    transpose = accepted(kind.__init__, enable_kvcache_transpose=False)
    both = kind(
        size=config.full_slots,
        size_swa=config.swa_slots,
        swa_attention_layer_ids=list(range(LAYERS)),
        full_attention_layer_ids=list(range(LAYERS, 2 * LAYERS)),
        **common,
        **transpose,
    )
    allocator = release.SwaAllocator(
        size=config.full_slots,
        size_swa=config.swa_slots,
        page_size=config.page_size,
        dtype=KV_TYPE,
        device="cpu",
        kvcache=both,
        need_sort=False,
    )
    return {FULL: both.full_kv_pool, SWA: both.swa_kv_pool}, allocator


def _plain_allocator(release: Release, config: CacheConfig, pool: Any) -> Any:
    rest = {"dtype": KV_TYPE, "device": "cpu", "kvcache": pool, "need_sort": False}
    if config.page_size == 1:
        return release.allocator.TokenToKVPoolAllocator(config.full_slots, **rest)
    return release.allocator.PagedTokenToKVPoolAllocator(
        config.full_slots, config.page_size, **rest
    )


def _host_pools(
    tree: Any, arguments: SimpleNamespace, params: Any, config: CacheConfig
) -> dict[str, Any]:
    tree.init_hicache(arguments, params)
    if hasattr(tree, "shutdown"):
        atexit.unregister(tree.shutdown)
    tree.load_back_threshold = config.load_back_threshold
    entries = tree.cache_controller.mem_pool_host.entry_map
    names = {FULL: "kv", SWA: "swa", MAMBA: "mamba"}
    for entry in entries.values():
        entry.host_pool.pin_memory = False  # as its buffers are (device.host_memory)
    by_name = {str(getattr(k, "value", k)): entry.host_pool for k, entry in entries.items()}
    return {c: by_name[names[c]] for c in config.components}


def _host_layers(component: str, pool: Any, config: CacheConfig) -> list[Tensor]:
    if component == MAMBA:
        return state_pools.host_layers(pool)
    if config.has_mamba:
        return state_pools.host_kv_layers(pool)
    return [*pool.k_data_refs, *pool.v_data_refs]


def _silence(tree: Any) -> None:
    """A failing ``sanity_check`` prints the tree; we have our own."""
    for holder in (tree, getattr(tree, "tree_core", None)):
        if holder is not None and hasattr(holder, "pretty_print"):
            holder.pretty_print = lambda: None


def options_of(release: Release, core: str) -> frozenset[str]:
    """Options of a release (model/options.py) with one of its cores."""
    hidden = {HIDES_LOCKS, HIDES_TRACKING} if core == RUST else set()
    return release.options | hidden


def _require_core(tree: Any, core: str) -> None:
    """A release falls back to its Python core without a word; here that is an error."""
    if _is_rust(tree) != (core == RUST):
        raise ConfigError(f"the {core} core of this SGLang is not there: it runs {_core(tree)}")


def _is_rust(tree: Any) -> bool:
    return "Rust" in _core(tree)


def _core(tree: Any) -> str:
    return type(getattr(tree, "tree_core", tree)).__name__
