"""Device slots for new tokens, as a release's ``alloc_for_extend`` and ``alloc_for_decode`` hand
them out.

Stands in for the triton kernels of the paged allocators. Contract kept: a request fills the page
it has begun before it takes new ones; new pages come from the release's own sub-allocators, from
both pools or from none; the FULL-to-SWA map is set for exactly the tokens that are extended.
"""

from __future__ import annotations

import torch
from torch import Tensor

from radixproof.impl.sglang.pools import Built
from radixproof.model.config import FULL, SWA


def evict_to_fit(built: Built, tokens: int) -> None:
    """The release's own eviction before an allocation."""
    built.release.common.evict_from_tree_cache(built.tree, tokens)


def extend(built: Built, row: Tensor, tokens: int) -> Tensor | None:
    """Slots for ``tokens`` more tokens after those of ``row``; ``None``: no memory, nothing taken.

    ``row``: the FULL slots that a request has, one per token.
    """
    page = built.config.page_size
    if page == 1:
        slots: Tensor | None = built.allocator.alloc(tokens) if tokens else row[:0]
        return slots
    begun = -len(row) % page
    rest = row[-1] + 1 + torch.arange(min(begun, tokens)) if begun else row[:0]
    pages = -(-(tokens - len(rest)) // page)
    if not pages:
        _map(built, rest, _swa_after(built, row, len(rest)))
        return rest
    taken = _pages(built, pages * page)
    if taken is None:
        return None
    full, swa = taken
    fresh = tokens - len(rest)
    _map(built, rest, _swa_after(built, row, len(rest)))
    _map(built, full[:fresh], swa[:fresh])
    return torch.cat([rest, full[:fresh]])


def _pages(built: Built, slots: int) -> tuple[Tensor, Tensor] | None:
    """Whole pages of every device pool."""
    full_pool = built.device_allocator(FULL)
    if not built.config.has_swa:
        full = full_pool.alloc(slots)
        return None if full is None else (full, full[:0])
    swa_pool = built.device_allocator(SWA)
    if full_pool.available_size() < slots or swa_pool.available_size() < slots:
        return None
    full, swa = full_pool.alloc(slots), swa_pool.alloc(slots)
    assert full is not None, "an allocator hands out what it has available"
    assert swa is not None, "an allocator hands out what it has available"
    return full, swa


def _swa_after(built: Built, row: Tensor, tokens: int) -> Tensor:
    """The SWA slots that follow the last one of a row, in the page it has begun."""
    if not built.config.has_swa or not tokens:
        return row[:0]
    last: Tensor = built.allocator.full_to_swa_index_mapping[row[-1]]
    return last + 1 + torch.arange(tokens)


def _map(built: Built, full: Tensor, swa: Tensor) -> None:
    if built.config.has_swa and len(full):
        built.allocator.full_to_swa_index_mapping[full] = swa
