"""Freeing device and host memory (domain.md 5.5, 5.6, 6.4, 6.5)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from radixproof.impl.torch_cache.errors import InternalError
from radixproof.impl.torch_cache.locks import Locks
from radixproof.impl.torch_cache.node import Node
from radixproof.model.config import FULL, SWA


@dataclass(slots=True)
class Freed:
    """Tokens freed so far on one tier; all drivers of one call count here."""

    full: int = 0
    swa: int = 0


class Eviction(Locks):
    """Leaves go least recently used first; SWA also goes from inner nodes, leaving tombstones."""

    def _evict(self, full: int, swa: int) -> Freed:
        """Free device tokens, as many as asked for or as can be."""
        freed = Freed()
        self._drain(
            self.device_leaves, lambda: freed.full < full, lambda n: self._evict_leaf(n, freed)
        )
        if freed.swa < swa:
            for node in self.swa_list.least_recent():
                if freed.swa >= swa:
                    break
                if node.swa.lock:
                    continue
                if node in self.device_leaves:
                    self._evict_leaf(node, freed)
                else:
                    self._drop_swa_internal(node, freed)
        return freed

    def _evict_host(self, count: int, component: str) -> int:
        """Free host slots of one component; how many."""
        freed = Freed()
        if component == FULL:
            self._drain(
                self.host_leaves,
                lambda: freed.full < count,
                lambda n: self._evict_host_leaf(n, freed),
            )
            return freed.full
        for node in self.swa_host_list.least_recent():
            if freed.swa >= count:
                break
            if node in self.host_leaves:
                self._evict_host_leaf(node, freed)
            else:
                self._drop_host(node, SWA, freed)
        return freed.swa

    def _drain(
        self, leaves: dict[Node, None], wanting: Callable[[], bool], evict: Callable[[Node], Node]
    ) -> None:
        """Least recently accessed leaf first; a parent that becomes a leaf joins in."""
        if not wanting():
            return
        heap = [(n.accessed, n.id, n) for n in leaves]
        heapq.heapify(heap)
        while heap and wanting():
            parent = evict(heapq.heappop(heap)[2])
            if self._joins(parent, leaves):
                heapq.heappush(heap, (parent.accessed, parent.id, parent))

    def _joins(self, parent: Node, leaves: dict[Node, None]) -> bool:
        """Whether a parent became a leaf by the eviction of its last child."""
        return parent in leaves

    # Device

    def _evict_leaf(self, leaf: Node, freed: Freed) -> Node:
        """Demote a backed-up leaf, delete any other; its parent."""
        if leaf.full.host is not None:
            self._demote(leaf, freed)
        else:
            self._delete(leaf, freed)
        return leaf.above

    def _demote(self, leaf: Node, freed: Freed) -> None:
        """Device data goes, host data stays: the node becomes host-only."""
        self._drop_device(leaf, freed)
        self._refresh_leaf_sets(leaf, leaf.above)

    def _delete(self, leaf: Node, freed: Freed) -> None:
        """Everything goes, and the node with it."""
        if leaf.children:
            raise InternalError(f"unbacked leaf {leaf.id} has a host-only subtree")
        self._drop_device(leaf, freed)
        self._unlink(leaf)

    def _drop_device(self, leaf: Node, freed: Freed) -> None:
        """FULL goes and takes SWA along, whose slots are found through FULL's."""
        full = leaf.full.device
        if full is None:
            raise InternalError(f"leaf {leaf.id} has no device data")
        self.memory.free(FULL, full)
        self._cascade(leaf, freed)
        self._take_device(leaf, FULL)
        freed.full += len(full)

    def _cascade(self, leaf: Node, freed: Freed) -> None:
        """What depends on a leaf's FULL data goes with it (5.6)."""
        if leaf.swa.device is not None:
            self._drop_swa(leaf, freed)

    def _drop_swa_internal(self, node: Node, freed: Freed) -> None:
        """A node that must stay loses its SWA data: a tombstone."""
        self._drop_swa(node, freed)
        self._refresh_leaf_sets(node)

    def _drop_swa(self, node: Node, freed: Freed) -> None:
        full = node.full.device
        if full is None:
            raise InternalError(f"node {node.id} has SWA data without FULL data")
        self.memory.free_swa(full)
        freed.swa += len(self._take_device(node, SWA))

    # Host

    def _evict_host_leaf(self, leaf: Node, freed: Freed) -> Node:
        """The last copy of a prefix goes, and its node; the parent."""
        for component in self.config.components:
            if leaf.value(component).host is not None:
                self._drop_host(leaf, component, freed)
        self._unlink(leaf)
        return leaf.above

    def _drop_host(self, node: Node, component: str, freed: Freed) -> None:
        slots = self._take_host(node, component)
        self.memory.free(f"host_{component}", slots)
        setattr(freed, component, getattr(freed, component) + len(slots))
