"""Wrong ways to back up."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node, Transfer
from radixproof.stateful_tests.variants.variant import variant


@variant(
    "M-1",
    "below an unbacked parent the backup is silently skipped (upstream PR 25065)",
    "hits-at-the-threshold-are-backed-up",
)
class SkipsBelowUnbackedParent(TorchCache):
    def _write_backup(self, node: Node) -> bool:
        parent = node.above
        if not parent.is_root and parent.full.host is None:
            return False
        return self._back_up_one(node)


@variant(
    "M-1b",
    "the child is backed up without its parent",
    "backup-is-prefix-closed",
    "host-only-never-follows-device-only",
    "hits-at-the-threshold-are-backed-up",
)
class IgnoresParent(TorchCache):
    """Where the host has room for the parent alone, the parent's backup is what is missed."""

    def _write_backup(self, node: Node) -> bool:
        return self._back_up_one(node)


@variant("M-1c", "a parent's refused backup is ignored", "backup-is-prefix-closed")
class IgnoresParentsRefusal(TorchCache):
    def _write_backup(self, node: Node) -> bool:
        return [self._back_up_one(n) for n in self._unbacked_chain(node)][-1]


@variant(
    "M-1d",
    "an ancestor backed up on the way is not locked while its copy runs",
    "pending-writes-keep-their-source",
)
class LocksOnlyTheLastOfTheChain(TorchCache):
    _last: Node | None = None

    def _write_backup(self, node: Node) -> bool:
        self._last = node
        return super()._write_backup(node)

    def _lock_write(self, write: Transfer) -> None:
        if write.node is self._last:
            super()._lock_write(write)


@variant(
    "M-1f",
    "a split backs up its upper part, and a backup below an unbacked parent is skipped (decision"
    " 11)",
    "a-match-changes-only-recency-and-one-split",
    "both-parts-of-a-split-are-held-alike",
    "nothing-is-backed-up-before-its-time",
    "queues-only-grow-at-their-end",
    "receipts-change-only-for-their-owner",
    "preparing-only-locks",
)
class BacksUpInSplits(SkipsBelowUnbackedParent):
    def _split(self, lower: Node, length: int) -> Node:
        upper = super()._split(lower, length)
        bare = upper.full.device is not None and upper.full.host is None
        if self.config.writes_through and bare:
            self._write_backup(upper)
        return upper


@variant(
    "M-3",
    "nothing is locked while a backup runs",
    "pending-writes-keep-their-source",
    "host-slots-hold-their-prefix",
)
class DoesNotLockWrites(TorchCache):
    def _lock_write(self, write: Transfer) -> None:
        pass


@variant(
    "M-17",
    "an ack is taken for finished by count, before its copy ran",
    "observing-acknowledges-finished-heads",
    "host-slots-hold-their-prefix",
)
class AcknowledgesByCount(TorchCache):
    def _acknowledge(self, stream: str, limit: int | None) -> int:
        if limit is None:
            return super()._acknowledge(stream, limit)
        queue = self.queues.of(stream)
        heads = [queue.popleft() for _ in range(min(limit, len(queue)))]
        finished = [t for s in heads for t in s.transfers]
        for transfer in finished:
            self._finish_transfer(transfer)
        return len(finished)


@variant(
    "M-28",
    "chunked inserts count hits",
    "an-insert-counts-at-most-one-hit",
)
class CountsChunks(TorchCache):
    def _count_hit(self, node: Node, chunked: bool) -> None:
        super()._count_hit(node, False)


@variant(
    "M-31",
    "a refused SWA or MAMBA host allocation keeps the FULL host slots",
    "host-slots-have-one-owner",
)
class LeaksRefusedHostSlots(TorchCache):
    def _undo_host_slots(self, taken: dict[str, Tensor]) -> None:
        pass


@variant(
    "M-3b",
    "a backup locks the FULL data that it reads and nothing else",
    "pending-writes-keep-their-source",
)
class LocksOnlyFullForWrites(TorchCache):
    def _lock_write(self, write: Transfer) -> None:
        super()._lock_write(write)
        for receipt in write.receipts:
            self._release_window(receipt)
            self._refresh_leaf_sets(*receipt.anchor.upwards())


@variant(
    "M-48b",
    "the backup of a chunk leaves its window behind",
    "a-backup-takes-all-that-is-on-device",
)
class BacksUpChunksWithoutTheirWindow(TorchCache):
    _caching = False

    def _cache_unfinished(self, request: Request, fork: Tensor) -> int:
        self._caching = True
        try:
            return super()._cache_unfinished(request, fork)
        finally:
            self._caching = False

    def _host_slots(self, node: Node) -> dict[str, Tensor] | None:
        held = node.swa.device
        node.swa.device = None if self._caching else held
        slots = super()._host_slots(node)
        node.swa.device = held
        return slots


@variant(
    "M-73",
    "what is inserted is backed up at once, whatever the threshold",
    "nothing-is-backed-up-before-its-time",
)
class BacksUpAtOnce(TorchCache):
    def _count_hit(self, node: Node, chunked: bool) -> None:
        super()._count_hit(node, chunked)
        if self.config.writes_through and node.full.host is None and not chunked:
            self._write_backup(node)
