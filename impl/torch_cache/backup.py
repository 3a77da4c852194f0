"""Copying nodes to the host tier (domain.md 6.2.8, 6.6, 6.7)."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.host_eviction import HostEviction
from radixproof.impl.torch_cache.node import Copy, Node, Transfer
from radixproof.impl.torch_cache.transfer import Submission
from radixproof.model.blocks import CPU
from radixproof.model.config import FULL
from radixproof.model.operations import WRITE


class Backup(HostEviction):
    """Root first, so that every host copy can be loaded back (upstream PR 25065)."""

    def _count_hit(self, node: Node, chunked: bool) -> None:
        """An insert went over a node; at the threshold it is backed up."""
        if node.full.device is None or chunked or not self.config.counts_hits:
            return
        node.hit += 1
        if (
            self.has_host
            and node.full.host is None
            and node.hit >= self.config.write_through_threshold
        ):
            self._write_backup(node)

    def _write_backup(self, node: Node) -> bool:
        """Back a node up after its unbacked ancestors; stops at the first refusal."""
        return all(self._back_up_one(n) for n in self._unbacked_chain(node))

    def _unbacked_chain(self, node: Node) -> list[Node]:
        """The node and its unbacked ancestors, root first."""
        return [n for n in reversed(node.upwards()) if n.full.host is None]

    def _back_up_one(self, node: Node) -> bool:
        """Host slots, commit, lock and queued copy of one node; False when refused."""
        host = self._host_slots(node)
        if host is None:
            return False
        copies = []
        for component, slots in host.items():
            value = node.value(component)
            assert value.device is not None, "a backup copies what is on the device"
            value.host = slots
            copies.append(Copy(component, value.device, slots))
        node.pending = node.id
        write = Transfer(node.id, node, [node], copies)
        self._lock_write(write)
        self.queues.writes.append(Submission([write]))
        return True

    def _lock_write(self, write: Transfer) -> None:
        """The source slots stay until the copy is acknowledged; write-back waits for it."""
        if self.config.writes_back:
            return
        receipt, _ = self._acquire(write.node, "write")
        write.receipts.append(receipt)

    def _host_slots(self, node: Node) -> dict[str, Tensor] | None:
        """Host slots for all that is on the device, or none: one eviction where short."""
        missing = len(node.key) - self.memory.available("host_full")
        if missing > 0 and self._evict_host(missing, FULL) < missing:
            return None
        taken: dict[str, Tensor] = {}
        for component in self.config.components:
            device = node.value(component).device
            slots = None if device is None else self._host_slots_of(component, len(device))
            if device is not None and slots is None:
                self._undo_host_slots(taken)
                return None
            if slots is not None:
                taken[component] = slots
        return taken

    def _host_slots_of(self, component: str, count: int) -> Tensor | None:
        """Room for FULL was made before; the others evict when an allocation fails, once."""
        slots = self.memory.allocate(f"host_{component}", count)
        if slots is None and component != FULL:
            self._evict_host(count, component)
            slots = self.memory.allocate(f"host_{component}", count)
        return slots

    def _undo_host_slots(self, taken: dict[str, Tensor]) -> None:
        """A refused allocation gives back those that went before it."""
        for component, slots in taken.items():
            self.memory.free(f"host_{component}", slots)

    # Acknowledgement

    def _drain_writes(self) -> None:
        """The blocking wait of write-back: every queued write runs and is acknowledged (6.7)."""
        for submission in self.queues.writes:
            if not submission.executed:
                self.engine.run(self.memory, WRITE, submission)
        self._acknowledge(WRITE, None)

    def _acknowledge(self, stream: str, limit: int | None) -> int:
        """Pop finished submissions from the head, at most ``limit``; how many ids they had."""
        queue = self.queues.of(stream)
        popped = ids = 0
        while queue and queue[0].executed and (limit is None or popped < limit):
            for transfer in queue.popleft().transfers:
                self._finish_transfer(transfer)
                ids += 1
            popped += 1
        return ids

    def _finish_transfer(self, transfer: Transfer) -> None:
        """Marks and locks of one transfer end."""
        for node in transfer.nodes:
            if node.pending == transfer.id:
                node.pending = None
                self._emit_stored(CPU, node)
        for receipt in transfer.receipts:
            self._release(receipt)
