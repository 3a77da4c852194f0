"""Stands in for the triton kernel by which paged allocators extend a batch of requests.

Contract kept: each request fills the page it has begun, then takes the next free pages in turn. A
pool that is short gives what it has: the caller sees after the launch that it was not enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class AllocExtendKernel:
    """``alloc_extend_kernel[(batch_size,)]``: called like a triton kernel, with its grid first."""

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return _extend_batch


def _extend_batch(
    prefix_lens: Tensor,
    seq_lens: Tensor,
    last_loc: Tensor,
    free_pages: Tensor,
    out: Tensor,
    _: int,
    page: int,
) -> None:
    given, taken = 0, 0
    for before, after, last in zip(
        prefix_lens.tolist(), seq_lens.tolist(), last_loc.tolist(), strict=True
    ):
        for position in range(before, after):
            if position % page:
                slot = last + 1
            else:
                slot = int(free_pages[taken]) * page if taken < len(free_pages) else -1
                taken += 1
            out[given] = last = slot
            given += 1
