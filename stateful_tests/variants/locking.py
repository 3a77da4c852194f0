"""Wrong locks."""

from __future__ import annotations

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.errors import BusyError
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH

_COUNTS = "lock-counts-are-sums-of-receipts"


@variant(
    "M-10",
    "the SWA part of a release walks to the root",
    _COUNTS,
    "host-lock-counts-are-sums-of-receipts",
    "lock-counts-are-not-negative",
    CRASH,
)
class ReleasesToTheRoot(TorchCache):
    def _swa_segment(self, receipt: Receipt) -> list[Node]:
        return receipt.anchor.upwards() if receipt.swa_top is not None else []


@variant(
    "M-11",
    "a lock leaves out tombstones, by id, and its release counts on what became of them (U-2)",
    _COUNTS,
    CRASH,
)
class SkipsTombstones(TorchCache):
    def _counted_window(self, window: list[Node]) -> list[Node]:
        self._left_out = {n.id for n in window if n.swa.device is None}
        return [n for n in window if n.id not in self._left_out]

    def _receipt(
        self, tier: str, owner: str, name: str, node: Node, full: list[Node], swa: list[Node]
    ) -> Receipt:
        receipt = super()._receipt(tier, owner, name, node, full, swa)
        if not hasattr(self, "_skips"):
            self._skips: dict[Receipt, set[int]] = {}
        self._skips[receipt] = self._left_out if tier == "device" else set()
        return receipt

    def _swa_segment(self, receipt: Receipt) -> list[Node]:
        skipped = self._skips.pop(receipt)
        return [n for n in super()._swa_segment(receipt) if n.id not in skipped]


@variant(
    "M-12",
    "the leaf sets are not refreshed when a lock is released (U-3)",
    "device-leaf-set-is-exact",
    "host-leaf-set-is-exact",
)
class DoesNotRefreshAfterRelease(TorchCache):
    def _refresh_released(self, nodes: list[Node]) -> None:
        pass


@variant(
    "M-14",
    "a reset does not wait for copies in flight",
    "a-reset-waits-for-everybody",
)
class ResetsUnderCopies(TorchCache):
    def _require_idle(self) -> None:
        held = any(r.owner in ("client", "request") for r in self.receipts)
        if self.requests or held:
            raise BusyError("requests or locks are in flight")
