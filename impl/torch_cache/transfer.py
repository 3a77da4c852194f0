"""The transfer engine: copies between tiers happen when they are run, not when they are queued.

One interface, two implementations. ``DeferredEngine`` copies on the CPU exactly when told to, so
that a slot freed too early corrupts bytes deterministically. ``StreamEngine`` runs the same copies
on CUDA streams between device memory and pinned host memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch

from radixproof.impl.torch_cache.memory import Memory
from radixproof.impl.torch_cache.node import Transfer
from radixproof.model.operations import LOAD, WRITE


@dataclass(slots=True, eq=False)
class Submission:
    """One entry of an ack queue; what was merged into it runs as a whole."""

    transfers: list[Transfer]
    executed: bool = False


class TransferEngine(Protocol):
    """Runs the copies of a submission."""

    def run(self, memory: Memory, stream: str, submission: Submission) -> None:
        """Copy everything now; on return the bytes are in place."""
        ...


class DeferredEngine:
    """Indexed tensor copies on the CPU."""

    def run(self, memory: Memory, stream: str, submission: Submission) -> None:
        for transfer in submission.transfers:
            for copy in transfer.copies:
                device = memory.pools[copy.component].kv
                host = memory.pools[f"host_{copy.component}"].kv
                if stream == WRITE:
                    host[:, :, copy.host] = device[:, :, copy.device]
                else:
                    device[:, :, copy.device] = host[:, :, copy.host]
        submission.executed = True


class StreamEngine:
    """Asynchronous copies of adjacent slots on one CUDA stream a direction, ended by an event."""

    def __init__(self, device: torch.device) -> None:
        self.streams = {
            name: torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for name in (WRITE, LOAD)
        }

    def run(self, memory: Memory, stream: str, submission: Submission) -> None:
        queue = self.streams[stream]
        queue.wait_stream(torch.cuda.current_stream(queue.device))
        with torch.cuda.stream(queue):
            for transfer in submission.transfers:
                for copy in transfer.copies:
                    device = memory.pools[copy.component].kv
                    host = memory.pools[f"host_{copy.component}"].kv
                    for d, h, n in _runs(copy.device.tolist(), copy.host.tolist()):
                        self._copy_run(stream, device, d, host, h, n)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(queue)
        done.synchronize()
        submission.executed = True

    def _copy_run(
        self, stream: str, device: torch.Tensor, d: int, host: torch.Tensor, h: int, n: int
    ) -> None:
        for layer in range(device.shape[0]):
            for part in range(2):  # K, V
                on_device, on_host = device[layer, part, d : d + n], host[layer, part, h : h + n]
                if stream == WRITE:
                    on_host.copy_(on_device, non_blocking=True)
                else:
                    on_device.copy_(on_host, non_blocking=True)


def _runs(device: list[int], host: list[int]) -> list[tuple[int, int, int]]:
    """Maximal runs that are adjacent on both sides: (device slot, host slot, length)."""
    runs: list[tuple[int, int, int]] = []
    for d, h in zip(device, host, strict=True):
        if runs and runs[-1][0] + runs[-1][2] == d and runs[-1][1] + runs[-1][2] == h:
            first_d, first_h, n = runs[-1]
            runs[-1] = (first_d, first_h, n + 1)
        else:
            runs.append((d, h, 1))
    return runs


@dataclass(slots=True)
class Queues:
    """What is on its way: ack queues in submission order, and loads not yet submitted."""

    writes: deque[Submission]
    loads: deque[Submission]
    load_queue: list[Transfer]

    @classmethod
    def empty(cls) -> Queues:
        return cls(deque(), deque(), [])

    def of(self, stream: str) -> deque[Submission]:
        return self.writes if stream == WRITE else self.loads

    def pending_loads(self) -> list[Transfer]:
        return [t for s in self.loads for t in s.transfers] + self.load_queue

    def find_write(self, id: int) -> Transfer | None:
        return next((t for s in self.writes for t in s.transfers if t.id == id), None)

    def idle(self) -> bool:
        return not (self.writes or self.loads or self.load_queue)
