"""Wrong splits."""

from __future__ import annotations

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node, Value
from radixproof.stateful_tests.variants.variant import variant

_COUNTS = (
    "lock-counts-are-sums-of-receipts",
    "both-parts-of-a-split-are-held-alike",
    "full-locks-are-upward-closed",
)


@variant(
    "M-2",
    "a split does not tell the pending backup of its upper part",
    "events-tell-what-is-resident",
    "pending-marks-are-exact",
    "pending-writes-keep-their-source",
)
class ForgetsPublishNodes(TorchCache):
    def _split_publish_nodes(self, lower: Node, upper: Node) -> None:
        pass


@variant("M-8", "a split does not copy device lock counts to the upper part", *_COUNTS)
class DropsLocksOfTheUpperPart(TorchCache):
    def _split_counts(self, lower: Value, upper: Value) -> None:
        upper.host_lock = lower.host_lock


@variant(
    "M-8b",
    "a split leaves the pending mark on the lower part only",
    "pending-marks-are-exact",
    "both-parts-of-a-split-are-held-alike",
)
class LeavesTheMarkBelow(TorchCache):
    def _split_mark(self, lower: Node, upper: Node) -> None:
        pass


@variant(
    "M-8c",
    "a split leaves the receipts' boundaries at the lower part",
    "lock-counts-are-sums-of-receipts",
    "host-lock-counts-are-sums-of-receipts",
    "an-unlock-gives-back-its-own-receipt",
    "a-split-moves-no-data",
)
class LeavesTheBoundaryBelow(TorchCache):
    def _split_locks(self, lower: Node, upper: Node) -> None:
        for component in self.config.components:
            self._split_counts(lower.value(component), upper.value(component))


@variant(
    "M-22",
    "a split gives the old id to the upper part",
    "nodes-keep-the-prefix-they-end",
    "pending-marks-are-exact",
)
class KeepsTheIdAbove(TorchCache):
    def _split(self, lower: Node, length: int) -> Node:
        upper = super()._split(lower, length)
        upper.id, lower.id = lower.id, upper.id
        return upper


@variant(
    "M-35",
    "a split does not transport host locks",
    "host-lock-counts-are-sums-of-receipts",
    "both-parts-of-a-split-are-held-alike",
)
class DropsHostLocksOfTheUpperPart(TorchCache):
    def _split_counts(self, lower: Value, upper: Value) -> None:
        upper.lock = lower.lock


@variant(
    "M-75",
    "a split makes both parts of the node the most recent",
    "what-is-not-used-keeps-its-place",
)
class PromotesWhatItSplits(TorchCache):
    def _split_recency(self, lower: Node, upper: Node) -> None:
        super()._split_recency(lower, upper)
        for component in self.config.auxiliary:
            for part in (upper, lower):
                if part.value(component).device is not None:
                    self.device_lists[component].push_front(part.value(component).link)
