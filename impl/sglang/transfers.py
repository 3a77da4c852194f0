"""Which slots each pending copy moves: noted when it is queued, before submissions are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from radixproof.impl.sglang.device import Event, Layer
from radixproof.impl.sglang.pools import Built
from radixproof.model.config import FULL
from radixproof.model.operations import STREAMS, WRITE
from radixproof.model.snapshot import Move, Slots

Moves = tuple[Move, ...]


class TransferLog:
    """Slots of the copies that are queued or not acknowledged, by stream and ack id."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.moves: dict[tuple[str, int], Moves] = {}
        self._owner = {
            layer.data_ptr(): pool for pool, layers in built.layers.items() for layer in layers
        }

    def note(self) -> None:
        """Look at what is queued and at what was submitted at once; forget what is gone."""
        waiting: set[tuple[str, int]] = set()
        for stream in STREAMS:
            queued, acks = self.built.queues(stream)
            for operation in queued:
                for id in operation.node_ids:
                    waiting.add((stream, id))
                    self.moves[stream, id] = self._queued(operation)
            for ack in acks:
                for id in ack.node_ids:
                    waiting.add((stream, id))
                # Until 0.5.20 a backup is submitted at once; loads are always queued first.
                if stream == WRITE and (stream, ack.node_ids[0]) not in self.moves:
                    self.moves[stream, ack.node_ids[0]] = self._written(ack.finish_event)
        self.moves = {key: moves for key, moves in self.moves.items() if key in waiting}

    def of(self, stream: str, id: int) -> Moves:
        return self.moves.get((stream, id), ())

    def _queued(self, operation: Any) -> Moves:
        """A load brings a state to its node first, then to the request that waits for it."""
        found = {FULL: (_slots(operation.device_indices), _slots(operation.host_indices))}
        for extra in getattr(operation, "pool_transfers", None) or ():
            if extra.device_indices is not None and extra.host_indices is not None:
                component = str(getattr(extra.name, "value", extra.name))
                device, host = found.get(component, ((), ()))
                device += _slots(extra.device_indices)
                found[component] = (device, host + _slots(extra.host_indices))
        order = self.built.config.components
        return tuple(Move(c, *found[c]) for c in order if c in found and found[c][0])

    def _written(self, event: Event) -> Moves:
        """Read off the copies of a backup that have yet to run."""
        if event.done or event.stream is None:
            return ()
        found: dict[str, Move] = {}
        for copy in event.stream.copies_before(event):
            component = self._pool(copy.sources)
            device, host = _slots(copy.source_slots), _slots(copy.target_slots)
            found[component] = Move(component, device, host)
        return tuple(found[c] for c in self.built.config.components if c in found)

    def _pool(self, layers: Sequence[Layer]) -> str:
        first = layers[0]
        assert isinstance(first, Tensor), "a backup reads the device's own layers"
        return self._owner.get(first.data_ptr(), "")


def slots_of(moves: Moves, component: str) -> int:
    """Tokens of one component that a copy moves."""
    return sum(len(m.device) for m in moves if m.component == component)


def _slots(indices: Tensor) -> Slots:
    return tuple(indices.tolist())
