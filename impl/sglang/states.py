"""State slots of requests (MAMBA), by the release's own code.

A request gets its slot in the match (a state is on device: copy-on-write), in the load-back (a
state is on host) or with its row, and starts from a copy, from what the load brings or from zeros.
Copy and zeroing are recorded and done by the batch that computes the request first; the order is
that of the release's scheduler: match and admit one candidate after the other, then rows and slots
for all of them, then zeroing and copies, then the forward pass. ``no_buffer`` servers do not
overlap: what a batch computed is cached before the next is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from radixproof.impl.sglang import fields, payload
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.tracking import Snapshotted
from radixproof.model.config import MAMBA
from radixproof.model.payload import advance_state


class States:
    """Of one cache."""

    def __init__(self, built: Built) -> None:
        self.built = built

    @property
    def _allocator(self) -> Any:
        return self.built.device_allocator(MAMBA)

    @contextmanager
    def candidate(self) -> Iterator[None]:
        """Around the match and the admission of one candidate: slots are taken as a group."""
        grouped = self.built.config.has_mamba and hasattr(self._allocator, "alloc_group_begin")
        if grouped:
            self._allocator.alloc_group_begin(1)
        try:
            yield
        finally:
            if grouped:
                self._allocator.alloc_group_end()

    def slot(self, req: Any) -> int | None:
        if not self.built.config.has_mamba:
            return None
        held = fields.held(req, "mamba_pool_idx")
        return None if held is None else int(held)

    def source(self, req: Any) -> int | None:
        """The slot that the next forward pass copies from; releases until 0.5.12 copy at once."""
        held = self._field(req, "mamba_cow_src_index")
        return None if held is None else int(held)

    def starts_from_zeros(self, req: Any) -> bool:
        """The slot is to be zeroed; a request without one gets such a slot with its row."""
        if not self.built.config.has_mamba:
            return False
        return bool(self._field(req, "mamba_needs_clear")) or self.slot(req) is None

    def _field(self, req: Any, name: str) -> Any:
        if not self.built.config.has_mamba:
            return None
        holder = req if hasattr(req, name) else getattr(req, "kv", None)
        return getattr(holder, name, None)

    def refuse(self, req: Any) -> None:
        """A candidate that was not admitted after all gives its slot back."""
        for name, nothing in (("mamba_cow_src_index", None), ("mamba_needs_clear", False)):
            if self._field(req, name) is not None:
                fields.hold(req, name, nothing)
        if self.slot(req) is not None:
            self._allocator.free(fields.held(req, "mamba_pool_idx").unsqueeze(-1))
            fields.hold(req, "mamba_pool_idx", None)

    def settle(self, reqs: Sequence[Any]) -> None:
        """What a batch does to the slots of its requests before it computes."""
        batch_kind = self.built.release.schedule_batch.ScheduleBatch
        collect = vars(batch_kind).get("_collect_deferred_mamba_cow_and_clear")
        if collect is None:
            return
        batch = SimpleNamespace()
        collect(batch, reqs)
        pool = self.built.requests.mamba_pool
        if batch.mamba_clear_indices is not None:
            pool.clear_slots(batch.mamba_clear_indices)
        if batch.mamba_cow_src_indices is not None:
            copy = getattr(self.built.requests, "copy_mamba_state", pool.copy_from)
            copy(batch.mamba_cow_src_indices, batch.mamba_cow_dst_indices)

    def advance(
        self,
        req: Any,
        namespace: str,
        tokens: Sequence[int],
        put_aside: Snapshotted | None = None,
    ) -> None:
        """The forward pass goes on from the state that the request's slot really holds, and leaves
        an earlier one in a tracking slot.
        """
        slot = self.slot(req)
        assert slot is not None, "a request that computes has a state slot"
        held = payload.read_one(self.built.layers[MAMBA], slot)
        self._write(slot, advance_state(held, namespace, tokens))
        if put_aside is not None:
            state = advance_state(held, namespace, tokens[: put_aside.tokens])
            self._write(put_aside.slot, state)

    def _write(self, slot: int, tag: int) -> None:
        payload.store(self.built.layers[MAMBA], torch.tensor([slot]), torch.tensor([tag]))
