"""Wrong evictions."""

from __future__ import annotations

from collections import Counter

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
