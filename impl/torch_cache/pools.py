"""KV and state pools: tensors ``[layers, 2, slots, heads, dim]`` float32, on device or host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from radixproof.impl.torch_cache.payload_codec import DIM, HEADS, LAYERS, decode, encode


class KVPool:
    """One pool's memory. Slots are token positions; a page is ``page_size`` adjacent slots.

    In a pool of states a slot is one recurrent state; its two parts are the convolution's and the
    temporal one instead of K and V.
    """

    def __init__(self, slots: int, device: torch.device, pinned: bool = False) -> None:
        shape = (LAYERS, 2, slots, HEADS, DIM)
        self.kv = torch.zeros(shape, dtype=torch.float32, device=device, pin_memory=pinned)
        self._seen = b""
        self._tags: list[int] = []

    def write(self, slots: Tensor, tags: Iterable[int]) -> None:
        """Store one payload tag per slot, in every layer."""
        raw = bytearray().join(map(encode, tags))
        if raw:
            rows = torch.frombuffer(raw, dtype=torch.float32).view(-1, LAYERS, 2, HEADS, DIM)
            self.kv[:, :, slots] = rows.permute(1, 2, 0, 3, 4).to(self.kv.device)

    def read_slot(self, slot: int) -> int:
        """The tag found in one slot."""
        return decode(self.kv[:, :, slot].contiguous().cpu().numpy().tobytes())

    def read(self) -> Sequence[int]:
        """The tag found in each slot. Every byte is looked at; unchanged slots keep their tag."""
        by_slot = self.kv.permute(2, 0, 1, 3, 4).contiguous().cpu()
        raw = by_slot.numpy().tobytes()
        if raw != self._seen:
            size = len(raw) // by_slot.shape[0]
            rows = [raw[i : i + size] for i in range(0, len(raw), size)]
            self._tags = [decode(row) for row in rows]
            self._seen = raw
        return self._tags
