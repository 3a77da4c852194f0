"""Recurrent states (MAMBA): the request table that owns their slots, and the pools beside it.

Host pools have the layout that the state's host pool demands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang.release import Release, accepted
from radixproof.model.config import EXTRA_BUFFER_LAZY, CacheConfig

STATE_LAYERS = 2
_SIZES = {
    "intermediate_size": 2,
    "n_groups": 1,
    "num_heads": 1,
    "head_dim": 2,
    "state_size": 1,
    "conv_kernel": 2,
}
"""Of one layer's state: a few elements in each part, so that half a copy shows."""


def is_lazy(config: CacheConfig) -> bool:
    """The second slot of a tracking buffer is there only while it is written."""
    return config.mamba_strategy == EXTRA_BUFFER_LAZY


def request_table(
    release: Release, config: CacheConfig, rows: int, context: int, first_layer: int
) -> Any:
    """``HybridReqToTokenPool``: rows for requests, and the pool and allocator of state slots."""
    kinds = release.state_configs
    layers = list(range(first_layer, first_layer + STATE_LAYERS))
    params = kinds.Mamba2CacheParams(
        shape=kinds.Mamba2StateShape.create(tp_world_size=1, **_SIZES),
        dtype=kinds.Mamba2StateDType(conv=torch.int64, temporal=torch.int64),
        layers=layers,
    )
    table, lazy = release.memory_pool.HybridReqToTokenPool, is_lazy(config)
    return table(
        size=rows,
        mamba_size=config.mamba_slots,
        mamba_spec_state_size=rows,
        max_context_len=context,
        device="cpu",
        enable_memory_saver=False,
        cache_params=params,
        enable_mamba_extra_buffer=config.tracks_states,
        enable_overlap_schedule=config.overlap_schedule,
        **accepted(table.__init__, mamba_layer_ids=layers, enable_mamba_extra_buffer_lazy=lazy),
    )


def full_pool(
    release: Release, config: CacheConfig, requests: Any, layers: int, common: dict[str, Any]
) -> Any:
    """The KV pool of a model of full attention and recurrent layers."""
    kind = release.memory_pool.HybridLinearKVPool
    return kind(
        size=config.full_slots,
        full_attention_layer_ids=list(range(layers)),
        mamba_pool=requests.mamba_pool,
        **accepted(kind.__init__, enable_kvcache_transpose=False),
        **common,
    )


def device_layers(requests: Any) -> list[Tensor]:
    """Each part of each layer's state, one row a slot."""
    states = requests.mamba_pool.mamba_cache
    return [layer for part in (states.temporal, *states.conv) for layer in part.unbind(0)]


def host_layers(pool: Any) -> list[Tensor]:
    """The same of a host pool, whose rows hold all layers of a slot."""
    parts = (pool.temporal_buffer, *pool.conv_buffer)
    return [part[:, layer, 0] for part in parts for layer in range(part.shape[1])]


def host_kv_layers(pool: Any) -> list[Tensor]:
    """K and V of a page-first host pool, layer by layer, each (pages, slots of one, heads, dim)."""
    return [part[:, i] for part in (pool.k_buffer, pool.v_buffer) for i in range(part.shape[1])]
