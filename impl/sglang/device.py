"""Stand-ins for CUDA streams, events, pinned memory and the copy kernel.

Contract kept: a stream runs what was put on it in order; an event is finished when everything
before it on its stream has run; waiting for an event runs its stream up to it. The compute stream
has no queue: what the scheduler and the forward pass do on it is done when they have done it.

What is free on a GPU is free here: a copy runs at any moment between its submission and the first
wait for its event, and the trace says when (domain.md 8.1). ``Event.withheld`` keeps a finished
event from being *reported*, as when another rank has not seen it yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PageFirst:
    """One layer of a page-first buffer, indexed by slot. ``pages``: (pages, slots of one, ...)."""

    pages: Tensor

    def __getitem__(self, slots: Tensor) -> Tensor:
        size = self.pages.shape[1]
        return self.pages[slots // size, slots % size]

    def __setitem__(self, slots: Tensor, values: Tensor) -> None:
        size = self.pages.shape[1]
        self.pages[slots // size, slots % size] = values


Layer = Tensor | PageFirst


@dataclass(slots=True, eq=False)
class Copy:
    """One call of the copy kernel: the same slots of each layer, page by page."""

    sources: Sequence[Layer]
    targets: Sequence[Layer]
    source_slots: Tensor
    target_slots: Tensor

    def run(self) -> None:
        for source, target in zip(self.sources, self.targets, strict=True):
            target[self.target_slots] = source[self.source_slots]


class Event:
    """Finished from the start until it is recorded on a stream that has work to do."""

    def __init__(self, enable_timing: bool = False, **_: Any) -> None:
        if enable_timing:
            raise NotImplementedError("no clock: timing of transfers is off")
        self.done = True
        self.withheld = False
        self.stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or DEVICE.current
        self.done = self.stream is None
        if self.stream is not None:
            self.stream.queue.append(self)

    def wait(self, stream: Stream | None = None) -> None:
        """On a stream. Only events of the compute stream are waited for, and these are done."""
        assert self.done, "a copy stream waits for a copy"

    def query(self) -> bool:
        return self.done and not self.withheld

    def synchronize(self) -> None:
        while not self.done and self.stream is not None:
            self.stream.run_one()

    def elapsed_time(self, other: Event) -> float:
        return 0.0


class Stream:
    """Copies and events in order."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.queue: deque[Copy | Event] = deque()

    def run_one(self) -> None:
        item = self.queue.popleft()
        if isinstance(item, Event):
            item.done = True
        else:
            item.run()

    def synchronize(self) -> None:
        while self.queue:
            self.run_one()

    def wait_event(self, event: Event) -> None:
        event.wait(self)

    def wait_stream(self, other: Any) -> None:
        """The compute stream is always done; copy streams do not wait for each other."""

    def copies_before(self, event: Event) -> list[Copy]:
        """The copies between an event and the one before it."""
        found: list[Copy] = []
        for item in self.queue:
            if item is event:
                return found
            if isinstance(item, Copy):
                found.append(item)
            else:
                found = []
        return []


class _ComputeStream:
    """The stream that is current when no copy stream is: nothing waits on it."""

    def wait_event(self, event: Event) -> None:
        event.synchronize()

    def wait_stream(self, other: Any) -> None:
        other.synchronize()

    def synchronize(self) -> None:
        pass


class Device:
    """What the release takes for ``torch.cuda``."""

    __name__ = "standin"

    def __init__(self) -> None:
        self.Stream, self.Event = Stream, Event
        self.current: Stream | None = None
        self.compute = _ComputeStream()

    def current_stream(self, *_: Any) -> Any:
        return self.current or self.compute

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def synchronize(self, *_: Any) -> None:
        pass


DEVICE = Device()


def transfer_kv_direct(
    src_layers: Sequence[Tensor],
    dst_layers: Sequence[Tensor],
    src_indices: Tensor,
    dst_indices: Tensor,
    page_size: int,
) -> None:
    """The kernel's contract: copies whole pages, named by the first slot of each page."""
    assert len(src_indices) == len(dst_indices), "as many slots on both sides"
    assert len(src_indices) % page_size == 0, "whole pages"
    _run_or_queue(
        Copy(
            list(src_layers),
            list(dst_layers),
            page_slots(src_indices, page_size),
            page_slots(dst_indices, page_size),
        )
    )


def transfer_kv_per_layer_direct_pf_lf(
    src_ptrs: Sequence[Tensor],
    dst_ptrs: Sequence[Tensor],
    src_indices: Tensor,
    dst_indices: Tensor,
    layer_id: int,
    page_size: int,
) -> None:
    """The kernel's contract: one layer of page-first buffers into that layer's own buffers."""
    sources = [PageFirst(source[:, layer_id]) for source in src_ptrs]
    slots = page_slots(src_indices, page_size), page_slots(dst_indices, page_size)
    _run_or_queue(Copy(sources, list(dst_ptrs), *slots))


def transfer_kv_all_layer_direct_lf_pf(
    src_ptrs: Sequence[Tensor],
    dst_ptrs: Sequence[Tensor],
    src_indices: Tensor,
    dst_indices: Tensor,
    page_size: int,
) -> None:
    """The kernel's contract: all layers, of K and then of V, into page-first buffers."""
    layers = len(src_ptrs) // len(dst_ptrs)
    targets = [PageFirst(target[:, layer]) for target in dst_ptrs for layer in range(layers)]
    slots = page_slots(src_indices, page_size), page_slots(dst_indices, page_size)
    _run_or_queue(Copy(list(src_ptrs), targets, *slots))


COPY_KERNELS = (
    transfer_kv_direct,
    transfer_kv_per_layer_direct_pf_lf,
    transfer_kv_all_layer_direct_lf_pf,
)


def _run_or_queue(copy: Copy) -> None:
    if DEVICE.current is None:
        copy.run()
    else:
        DEVICE.current.queue.append(copy)


def page_slots(indices: Tensor, page_size: int) -> Tensor:
    """All slots of the pages whose slots are listed; the list is captured now."""
    if page_size == 1:
        return indices.clone()
    return (indices[::page_size, None] + torch.arange(page_size)).reshape(-1)


def host_memory(dims: Any, dtype: torch.dtype, *_: Any, **__: Any) -> Tensor:
    """Host pools without pinning: there is no device to pin them for."""
    return torch.zeros(dims, dtype=dtype)
