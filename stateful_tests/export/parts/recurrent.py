"""A cache with recurrent states (MAMBA), and its pools.

As servers of the strategy ``no_buffer`` have them: pages of one token, no overlap.
"""

from collections.abc import Sequence
from typing import Any

import torch
from sglang.srt.configs.mamba_utils import (
    Mamba2CacheParams,
    Mamba2StateDType,
    Mamba2StateShape,
)
from sglang.srt.mem_cache.memory_pool import HybridLinearKVPool, HybridReqToTokenPool

from radixproof.stateful_tests.export.parts.cache import (
    CONTEXT,
    DEVICE,
    DTYPE,
    LAYERS,
    REQUESTS,
    Cache,
    accepted,
)
from radixproof.stateful_tests.export.parts.pools import (
    Made,
    kv_layers,
    shape,
    swa_pools,
    token_allocator,
)


class CacheWithStates(Cache):
    """Beside KV, slots of which each holds the state at the end of a prefix; 0: the beginning."""

    def __init__(self, *made_by: Any, mamba_slots: int, chunk_size: int, **more: Any) -> None:
        """``made_by``: rows, pools and slots, as those of a cache without states."""
        self.mamba_slots, self.chunk_size = mamba_slots, chunk_size
        super().__init__(*made_by, **more)

    def server_arguments(self, **more: Any) -> Any:
        made = super().server_arguments(mamba_scheduler_strategy="no_buffer", **more)
        made._mamba_cache_chunk_size = self.chunk_size
        return made

    def allocator_of(self, component: str) -> Any:
        if component == "MAMBA":  # until 0.5.12 the pool hands its slots out itself
            return getattr(self.rows, "mamba_allocator", self.rows.mamba_pool)
        return super().allocator_of(component)

    def size_of(self, component: str) -> int:
        return self.mamba_slots if component == "MAMBA" else super().size_of(component)

    def insert(self, tokens: Sequence[int], *, namespace: str = "", **more: Any) -> Any:
        """A state is handed over with the KV."""
        allocator = self.allocator_of("MAMBA")
        slot = allocator.alloc(1)
        if slot is None:
            return None
        self.write_state(int(slot), namespace, tokens)
        result = super().insert(tokens, namespace=namespace, mamba_value=slot.clone(), **more)
        if result is None or result.mamba_exist:
            allocator.free(slot)
        return result

    def write_state(self, slot: int, namespace: str, prefix: Sequence[int]) -> None:
        for layer in self.layers["MAMBA"]:
            layer[slot] = self.tag(namespace, tuple(prefix))

    def state_in(self, slot: int) -> tuple[str, tuple[Any, ...]] | None:
        """Namespace and prefix whose state lies in a slot; None: zeros."""
        parts = [layer[slot].flatten() for layer in self.layers["MAMBA"]]
        held = {int(x) for x in torch.cat([part.cpu() for part in parts]).tolist()}
        if held == {0}:
            return None
        return list(self.tags)[held.pop() - 1] if len(held) == 1 else ("torn", ())


def rows_with_states(cache: CacheWithStates) -> Any:
    """Rows of requests, with the pool and the allocator of state slots."""
    first = LAYERS * (len(cache.components) - 1)
    layers = list(range(first, first + LAYERS))
    sizes = {"intermediate_size": 2, "n_groups": 1, "num_heads": 1, "head_dim": 2}
    params = Mamba2CacheParams(
        shape=Mamba2StateShape.create(tp_world_size=1, state_size=1, conv_kernel=2, **sizes),
        dtype=Mamba2StateDType(conv=DTYPE, temporal=DTYPE),
        layers=layers,
    )
    return HybridReqToTokenPool(
        size=REQUESTS,
        mamba_size=cache.mamba_slots,
        mamba_spec_state_size=REQUESTS,
        max_context_len=CONTEXT,
        device=DEVICE,
        enable_memory_saver=False,
        cache_params=params,
        enable_mamba_extra_buffer=False,
        enable_overlap_schedule=False,
        **accepted(HybridReqToTokenPool.__init__, mamba_layer_ids=layers),
    )


def hybrid_pools(cache: Cache) -> Made:
    """Of full attention and recurrent layers."""
    pool = HybridLinearKVPool(
        size=cache.full_slots,
        full_attention_layer_ids=list(range(LAYERS)),
        mamba_pool=cache.rows.mamba_pool,
        **accepted(HybridLinearKVPool.__init__, enable_kvcache_transpose=False),
        **shape(cache),
    )
    layers = {"FULL": kv_layers(pool.full_kv_pool), "MAMBA": state_layers(cache)}
    return token_allocator(cache, pool), layers


def hybrid_swa_pools(cache: Cache) -> Made:
    """Of full attention, sliding windows and recurrent layers."""
    allocator, layers = swa_pools(cache)
    return allocator, {**layers, "MAMBA": state_layers(cache)}


def state_layers(cache: Cache) -> list[torch.Tensor]:
    states = cache.rows.mamba_pool.mamba_cache
    return [layer for part in (states.temporal, *states.conv) for layer in part.unbind(0)]


def page_first(pool: Any) -> list[torch.Tensor]:
    """Of a host pool whose rows hold all layers: of K and V, or of a state."""
    if hasattr(pool, "temporal_buffer"):
        parts = (pool.temporal_buffer, *pool.conv_buffer)
    else:
        parts = (pool.k_buffer, pool.v_buffer)
    return [part[:, layer, 0] for part in parts for layer in range(part.shape[1])]
