"""Wrong inserts."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.insertion import Incoming
from radixproof.impl.torch_cache.node import Node
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH

_OWNERS = "device-slots-have-one-owner"


@variant("M-4", "duplicates are freed from the start, the borrowed prefix included", _OWNERS)
class FreesTheBorrowedPrefix(TorchCache):
    def _free_duplicates(self, slots: Tensor, done: int, consumed: int, new: Incoming) -> None:
        self.memory.free_composite(slots[:consumed])


@variant("M-4b", "duplicates are freed to the end, those just adopted included", _OWNERS, CRASH)
class FreesWhatItAdopted(TorchCache):
    def _free_duplicates(self, slots: Tensor, done: int, consumed: int, new: Incoming) -> None:
        self.memory.free_composite(slots[max(0, new.protected - done) :])


@variant(
    "M-5",
    "a tombstone takes new FULL slots while a request reads the old ones (U-1)",
    "locked-device-data-stays",
    "requests-read-their-own-prefix",
    _OWNERS,
)
class AdoptsUnderARequestsLock(TorchCache):
    def _may_adopt(self, node: Node) -> bool:
        return node.full.lock == 0 or node.pending is None


@variant(
    "M-6",
    "a tombstone takes new FULL slots while a backup reads the old ones (U-1)",
    "locked-device-data-stays",
    "pending-writes-keep-their-source",
    "host-slots-hold-their-prefix",
)
class AdoptsUnderABackup(TorchCache):
    def _may_adopt(self, node: Node) -> bool:
        return node.full.lock == 0 or node.pending is not None


@variant(
    "M-9",
    "an unaligned SWA frontier is accepted",
    "keys-are-whole-pages",
    _OWNERS,
    CRASH,
)
class AcceptsUnalignedFrontiers(TorchCache):
    def _is_aligned(self, swa_evicted: int) -> bool:
        return True


@variant(
    "M-13",
    "data that appears under a lock is counted as evictable",
    "sizes-add-up",
)
class CreditsLockedDataToEvictable(TorchCache):
    def _set_device(self, node: Node, component: str, slots: Tensor) -> None:
        super()._set_device(node, component, slots)
        if node.value(component).lock:
            self.protected[component] -= len(slots)
            self.evictable[component] += len(slots)


@variant(
    "M-18",
    "un-eviction leaves the node in the host list",
    "swa-host-list-is-exact",
    "mamba-host-list-is-exact",
)
class StaysInTheHostList(TorchCache):
    def _set_device(self, node: Node, component: str, slots: Tensor) -> None:
        link = node.value(component).host_link
        listed = link.linked
        super()._set_device(node, component, slots)
        if listed:
            self.host_lists[component].push_front(link)


@variant(
    "M-32",
    "the window cap cuts a leaf at the window, not at whole pages",
    "keys-are-whole-pages",
)
class CapsAtTheBareWindow(TorchCache):
    def _window_cap(self, length: int) -> int | None:
        window = self.config.sliding_window
        return length - window if length > window else None


@variant(
    "M-33",
    "a finishing request forgets that it gave back SWA slots",
    "map-agrees-with-live-swa-data",
    "sizes-add-up",
)
class ForgetsItsFrontier(TorchCache):
    def _finish(self, request: Request) -> int:
        request.swa_evicted = 0
        return super()._finish(request)


@variant(
    "M-41",
    "moved SWA slots are freed together with the FULL slots they came with",
    _OWNERS,
    "map-agrees-with-live-swa-data",
)
class FreesMovedSwa(TorchCache):
    def _move_swa(self, node: Node, slots: Tensor, outside: int) -> None:
        if outside:
            self._split(node, outside)
        incoming, old = slots[outside:], node.full.device
        self.memory.full_to_swa[old] = self.memory.full_to_swa[incoming]
        self.memory.free_composite(incoming)


@variant(
    "M-60",
    "a fresh leaf keeps the SWA of all of its tokens (SGLang 26919)",
    "a-fresh-leaf-covers-one-window",
)
class KeepsAllSwaInOneLeaf(TorchCache):
    def _window_cap(self, length: int) -> int | None:
        return None
