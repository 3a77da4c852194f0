"""Copies between device and host: handed to their streams, and polled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from radixproof.impl.sglang.device import Event
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.transfers import TransferLog
from radixproof.model.operations import LOAD, WRITE


class Copies:
    """Of one cache. When a copy runs, the trace decides (device.py)."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.config = built.config
        self.tree = built.tree
        self.transfers = TransferLog(built)

    def submit_writes(self) -> None:
        """What ``process_batch_result`` ends with where backups are queued (from 0.5.21 on)."""
        controller = self.built.controller
        if controller is not None and controller.write_queue:
            self.transfers.note()
            controller.start_writing()

    def start_loading(self) -> int:
        controller = self.built.controller
        if controller is None:
            return 0
        queued = len(controller.load_queue)
        if queued:
            self.transfers.note()
            self.tree.ready_to_load_host_cache()
        return queued

    def unfinished(self, stream: str) -> list[Event]:
        """Finish events of submissions whose copies have not run, oldest first."""
        return [e for e in self.events(stream) if not e.done]

    def events(self, stream: str) -> list[Event]:
        _, acks = self.built.queues(stream)
        return [ack.finish_event for ack in acks]

    def observe(self, stream: str, limit: int | None) -> int:
        """Poll one stream; beyond ``limit`` other ranks have not seen the events finish."""
        if self.built.controller is None:
            return 0
        self.submit_writes()
        ongoing = (
            self.tree.ongoing_write_through if stream == WRITE else self.tree.ongoing_load_back
        )
        before, events = len(ongoing), self.events(stream)
        with self._withheld(events[limit:] if limit is not None else []):
            self._poll(stream)
        return before - len(ongoing)

    def _poll(self, stream: str) -> None:
        """With several ranks as the scheduler does it, which looks at both streams at once."""
        if self.config.ranks > 1:
            with self._withheld(self.events(LOAD if stream == WRITE else WRITE)):
                self.tree.check_hicache_events()
        elif stream == WRITE:
            self.tree.writing_check()
        else:
            self.tree.loading_check()

    @contextmanager
    def _withheld(self, events: list[Event]) -> Iterator[None]:
        """Events that have not been reported yet, though what they wait for may have run."""
        for event in events:
            event.withheld = True
        try:
            yield
        finally:
            for event in events:
                event.withheld = False


def has_free_load(built: Built) -> bool:
    """Releases keep at most three loads unfinished; a scheduler asks first where it can."""
    controller = built.controller
    if controller is None:
        return False
    if hasattr(built.tree, "has_free_load_back_slot"):
        return bool(built.tree.has_free_load_back_slot())
    return bool(len(controller.ack_load_queue) < controller.layer_done_counter.num_counters)
