"""Pools and slots of full attention and sliding windows.

A test takes the functions that fit its configuration.
"""

from typing import Any

import torch
from sglang.srt.mem_cache.allocator import PagedTokenToKVPoolAllocator, TokenToKVPoolAllocator
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

from radixproof.stateful_tests.export.parts.cache import (
    CONTEXT,
    DEVICE,
    DTYPE,
    EMPTY,
    LAYERS,
    REQUESTS,
    Cache,
    accepted,
)

try:
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
except ImportError:  # until 0.5.12
    from sglang.srt.mem_cache.swa_memory_pool import SWATokenToKVPoolAllocator

Made = tuple[Any, dict[str, list[torch.Tensor]]]
"""An allocator, and of each component K and V, layer by layer, one row a slot."""


def request_rows(cache: Cache) -> Any:
    return ReqToTokenPool(
        size=REQUESTS, max_context_len=CONTEXT, device=DEVICE, enable_memory_saver=False
    )


def shape(cache: Cache) -> dict[str, Any]:
    kinds: dict[str, Any] = {"page_size": cache.page_size, "dtype": DTYPE, "device": DEVICE}
    return {**kinds, "head_num": 2, "head_dim": 64}


def kv_layers(pool: Any) -> list[torch.Tensor]:
    return [*pool.k_buffer, *pool.v_buffer]


def full_pools(cache: Cache) -> Made:
    pool = full_kv_pool(cache)
    return token_allocator(cache, pool), {"FULL": kv_layers(pool)}


def token_allocator(cache: Cache, pool: Any) -> Any:
    rest = {"dtype": DTYPE, "device": DEVICE, "kvcache": pool, "need_sort": False}
    return TokenToKVPoolAllocator(cache.full_slots, **rest)


def paged_full_pools(cache: Cache) -> Made:
    pool = full_kv_pool(cache)
    rest = {"dtype": DTYPE, "device": DEVICE, "kvcache": pool, "need_sort": False}
    made = PagedTokenToKVPoolAllocator(cache.full_slots, cache.page_size, **rest)
    return made, {"FULL": kv_layers(pool)}


def full_kv_pool(cache: Cache) -> Any:
    return MHATokenToKVPool(
        size=cache.full_slots, layer_num=LAYERS, enable_memory_saver=False, **shape(cache)
    )


def swa_pools(cache: Cache) -> Made:
    both = SWAKVPool(
        size=cache.full_slots,
        size_swa=cache.swa_slots,
        swa_attention_layer_ids=list(range(LAYERS)),
        full_attention_layer_ids=list(range(LAYERS, 2 * LAYERS)),
        **accepted(SWAKVPool.__init__, enable_kvcache_transpose=False),
        **shape(cache),
    )
    allocator = SWATokenToKVPoolAllocator(
        size=cache.full_slots,
        size_swa=cache.swa_slots,
        page_size=cache.page_size,
        dtype=DTYPE,
        device=DEVICE,
        kvcache=both,
        need_sort=False,
    )
    return allocator, {"FULL": kv_layers(both.full_kv_pool), "SWA": kv_layers(both.swa_kv_pool)}


def take_tokens(cache: Cache, row: torch.Tensor, tokens: int) -> torch.Tensor | None:
    if not tokens:
        return row[:0]
    slots: torch.Tensor | None = cache.allocator.alloc(tokens)
    return slots


def take_pages(cache: Cache, row: torch.Tensor, tokens: int) -> torch.Tensor | None:
    """The rest of the page that the row has begun, then new pages."""
    begun = min(-len(row) % cache.page_size, tokens)
    fresh = -(-(tokens - begun) // cache.page_size) * cache.page_size
    if any(cache.allocator_of(c).available_size() < fresh for c in cache.components):
        return None
    rest = row[-1:] + 1 + torch.arange(begun, device=DEVICE) if begun else row[:0]
    taken = {c: cache.allocator_of(c).alloc(fresh) if fresh else EMPTY for c in cache.components}
    new = taken["FULL"][: tokens - begun]
    if cache.swa_slots:
        table = cache.allocator.full_to_swa_index_mapping
        if begun:
            table[rest] = table[row[-1:]] + 1 + torch.arange(begun, device=DEVICE)
        table[new] = taken["SWA"][: tokens - begun]
    return torch.cat([rest, new])
