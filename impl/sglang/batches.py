"""What a decode batch finds in place of a GPU: slots that are there already, unpinned memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def slot_of_the_row(batch: Any, token_per_req: int) -> Tensor:
    """``alloc_for_decode`` where the request has its slots (allocation.py): the next of its row.

    Contract kept: one token more is committed. Releases that say so in ``prepare_for_decode`` do it
    there.
    """
    (req,) = batch.reqs
    kv = getattr(req, "kv", None)
    if kv is not None and hasattr(kv, "kv_committed_len"):
        kv.kv_committed_len += token_per_req
    row: Tensor = batch.req_to_token_pool.req_to_token[batch.req_pool_indices, batch.seq_lens]
    return row


def unpinned(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    """``Tensor.pin_memory``: without a GPU all memory is the host's."""
    return tensor


class _Unpinned:
    """``torch`` as a module sees it, but that it makes tensors without pinning them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def tensor(*values: Any, pin_memory: bool = False, **how: Any) -> Tensor:
        return torch.tensor(*values, **how)


UNPINNED = _Unpinned()
