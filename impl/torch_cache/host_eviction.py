"""Freeing host memory (domain.md 5.5, 5.6, 6.5)."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

from radixproof.impl.torch_cache.locks import Locks
from radixproof.impl.torch_cache.node import Node
from radixproof.model.blocks import CPU
from radixproof.model.config import FULL, MAMBA, SWA

PROTECTED_HITS = 2
"""Hits from which on slru keeps a leaf longer than any with fewer."""

Freed = Counter[str]
"""Component -> tokens freed so far on one tier; all drivers of one call count here."""


class HostEviction(Locks):
    """Host leaves go least recently used first; auxiliary data also goes from inner nodes."""

    def _evict_host(self, count: int, component: str) -> int:
        """Free host slots of one component; how many."""
        freed: Freed = Counter()
        if component == FULL:
            self._drain(
                self.host_leaves,
                lambda: freed[FULL] < count,
                lambda n: self._evict_host_leaf(n, freed),
            )
            return freed[FULL]
        for node in self.host_lists[component].least_recent():
            if freed[component] >= count:
                break
            if node in self.host_leaves:
                self._evict_host_leaf(node, freed)
            else:
                self._drop_host_internal(node, component, freed)
        return freed[component]

    def _drain(
        self, leaves: dict[Node, None], wanting: Callable[[], bool], evict: Callable[[Node], Node]
    ) -> None:
        """The lowest-ranked leaf first; a parent that becomes a leaf joins in."""
        if not wanting():
            return
        heap = [(*self._rank(n), n.id, n) for n in leaves]
        heapq.heapify(heap)
        while heap and wanting():
            parent = evict(heapq.heappop(heap)[-1])
            if self._joins(parent, leaves):
                heapq.heappush(heap, (*self._rank(parent), parent.id, parent))

    def _rank(self, node: Node) -> tuple[float, float, float]:
        """Strategy, then last access: the tick, and within one match the depth (domain.md 3)."""
        tick, depth = node.accessed
        match self.config.eviction_policy:
            case "lru":
                return 0, tick, depth
            case "mru":
                return -tick, -depth, 0
            case "lfu":
                return node.hit, tick, depth
            case "slru":
                return node.hit >= PROTECTED_HITS, tick, depth
            case "fifo":
                return node.created, tick, depth
            case "filo":
                return -node.created, tick, depth
            case _:
                return node.priority, tick, depth

    def _joins(self, parent: Node, leaves: dict[Node, None]) -> bool:
        """Whether a parent became a leaf by the eviction of its last child."""
        return parent in leaves

    def _evict_host_leaf(self, leaf: Node, freed: Freed) -> Node:
        """The last copy of a prefix goes, and its node; the parent."""
        self._emit_removed(CPU, leaf)
        for component in self.config.components:
            if leaf.value(component).host is not None:
                self._drop_host(leaf, component, freed)
        self._unlink(leaf)
        return leaf.above

    def _drop_host_internal(self, node: Node, component: str, freed: Freed) -> None:
        """A node that stays loses one component on host; a state goes with its window (5.6)."""
        self._drop_host(node, component, freed)
        if component == SWA and node.mamba.host is not None:
            self._drop_host(node, MAMBA, freed)

    def _drop_host(self, node: Node, component: str, freed: Freed) -> None:
        slots = self._take_host(node, component)
        self.memory.free(f"host_{component}", slots)
        freed[component] += len(slots)
