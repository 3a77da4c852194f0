"""Wrong evictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.host_eviction import Freed
from radixproof.impl.torch_cache.node import Node
from radixproof.model.config import FULL, SWA
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH


@variant(
    "M-7",
    "demotion leaves SWA and MAMBA data on the device",
    "swa-data-needs-full-data",
    "states-need-full-data",
    "device-slots-have-one-owner",
    CRASH,
)
class DoesNotCascade(TorchCache):
    def _cascade(self, leaf: Node, freed: Freed) -> None:
        pass


@variant(
    "M-7b",
    "an inner node that loses its window keeps its state",
    "a-state-goes-with-its-window",
)
class KeepsStatesWithoutAWindow(TorchCache):
    def _cascade_state(self, node: Node, freed: Freed) -> None:
        pass


@variant(
    "M-15",
    "a parent that becomes a leaf does not join the candidates",
    "eviction-makes-progress",
    "host-eviction-frees-and-reports",
)
class ForgetsParents(TorchCache):
    def _joins(self, parent: Node, leaves: dict[Node, None]) -> bool:
        return False


@variant(
    "M-20",
    "SWA slots are freed without clearing the map",
    "free-slots-are-unmapped",
    "tombstones-are-unmapped",
)
class LeavesTheMap(TorchCache):
    def _drop_component(self, node: Node, component: str, freed: Freed) -> None:
        if component != SWA:
            super()._drop_component(node, component, freed)
            return
        slots = self._take_device(node, SWA)
        self.memory.free(SWA, slots)
        freed[SWA] += len(slots)


@variant(
    "M-56",
    "leaves go least recently used first whatever the strategy",
    "eviction-takes-the-least-recent-leaves",
    "host-eviction-follows-the-strategy",
)
class IgnoresTheStrategy(TorchCache):
    def _rank(self, node: Node) -> tuple[float, float, float]:
        return 0, *node.accessed


@variant(
    "M-23",
    "host eviction takes host copies of device-resident nodes too",
    "host-eviction-takes-only-what-is-host-only",
    "backup-is-prefix-closed",
    "host-only-nodes-can-be-reached",
    "hits-at-the-threshold-are-backed-up",
)
class TakesHostCopiesInUse(TorchCache):
    def _evict_host(self, count: int, component: str) -> int:
        freed = super()._evict_host(count, component)
        for node in list(self.device_leaves) if component == FULL else ():
            if freed < count and node.full.host is not None and not node.full.host_lock:
                part: Freed = Counter()
                if node.swa.host is not None:
                    self._drop_host(node, SWA, part)
                self._drop_host(node, FULL, part)
                freed += part[FULL]
        return freed


@variant(
    "M-30",
    "an inner host-only node counts as a host leaf",
    "host-leaf-set-is-exact",
    "host-only-nodes-can-be-reached",
)
class AllowsInnerHostLeaves(TorchCache):
    def _is_host_leaf(self, node: Node) -> bool:
        children, node.children = node.children, {}
        answer = super()._is_host_leaf(node)
        node.children = children
        return answer


@variant(
    "M-30b",
    "the parent of a deleted node is not looked at again",
    "host-leaf-set-is-exact",
    "device-leaf-set-is-exact",
)
class DoesNotReexamineParents(TorchCache):
    def _unlink(self, node: Node) -> None:
        parent = node.above
        before = parent in self.device_leaves, parent in self.host_leaves
        super()._unlink(node)
        for was, leaves in zip(before, (self.device_leaves, self.host_leaves), strict=True):
            if not was:
                leaves.pop(parent, None)


@variant(
    "M-42",
    "a host-only parent that becomes childless goes too, though somebody holds it",
    "receipts-refer-to-nodes-in-the-tree",
    "host-locked-data-stays",
    "host-eviction-frees-and-reports",
)
class PrunesWhatIsLocked(TorchCache):
    def _joins(self, parent: Node, leaves: dict[Node, None]) -> bool:
        if leaves is not self.host_leaves or parent.is_root or parent.full.host is None:
            return super()._joins(parent, leaves)
        return not parent.children and parent.full.device is None


@variant(
    "M-64",
    "making room for a chunk deletes leaves that are backed up",
    "evicting-a-backed-up-leaf-demotes-it",
)
class DeletesToMakeRoom(TorchCache):
    _making_room = False

    def _make_room_for_chunk(self, request: Request, tokens: int) -> Tensor | None:
        self._making_room = True
        try:
            return super()._make_room_for_chunk(request, tokens)
        finally:
            self._making_room = False

    def _demote(self, leaf: Node, freed: Freed) -> None:
        super()._demote(leaf, freed)
        if self._making_room and leaf in self.host_leaves:
            self._evict_host_leaf(leaf, Counter())


@variant(
    "M-65",
    "pressure on FULL takes windows of inner nodes, too",
    "eviction-spares-everything-else",
)
class TakesWindowsForFull(TorchCache):
    def _evict(self, wanted: Mapping[str, int]) -> Freed:
        freed = super()._evict(wanted)
        if self.has_swa and wanted.get(FULL) and not wanted.get(SWA):
            self._evict_component(SWA, freed[SWA] + 1, freed)
        return freed


@variant(
    "M-65b",
    "pressure on host FULL takes host windows, too",
    "host-eviction-takes-only-what-is-host-only",
    "host-eviction-frees-and-reports",
)
class TakesHostWindowsForFull(TorchCache):
    def _evict_host(self, count: int, component: str) -> int:
        freed = super()._evict_host(count, component)
        if self.has_swa and component == FULL and count:
            super()._evict_host(1, SWA)
        return freed


@variant(
    "M-66",
    "an eviction goes on when it has enough",
    "an-eviction-stops-when-it-has-enough",
)
class NeverHasEnough(TorchCache):
    def _evict(self, wanted: Mapping[str, int]) -> Freed:
        return super()._evict({c: 2 * n for c, n in wanted.items()})
