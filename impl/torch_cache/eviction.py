"""Freeing device memory (domain.md 5.5, 5.6, 6.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from radixproof.impl.torch_cache.backup import Backup
from radixproof.impl.torch_cache.errors import InternalError
from radixproof.impl.torch_cache.host_eviction import Freed
from radixproof.impl.torch_cache.node import Node
from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA


class Eviction(Backup):
    """Leaves go least recently used first; SWA and MAMBA data also goes from inner nodes."""

    def _evict(self, wanted: Mapping[str, int]) -> Freed:
        """Free device tokens, as many as asked for of each component or as can be."""
        freed: Freed = Counter()
        self.stuck: set[Node] = set()
        self._drain(
            self.device_leaves,
            lambda: freed[FULL] < wanted.get(FULL, 0),
            lambda n: self._evict_leaf(n, freed),
        )
        for component in self.config.auxiliary:
            self._evict_component(component, wanted.get(component, 0), freed)
        return freed

    def _evict_component(self, component: str, count: int, freed: Freed) -> None:
        """Walk one recency list from its end, skipping what is locked or stuck."""
        if freed[component] >= count:
            return
        for node in self.device_lists[component].least_recent():
            if freed[component] >= count:
                break
            if node.value(component).lock or node in self.stuck:
                continue
            if node in self.device_leaves:
                self._evict_leaf(node, freed)
            else:
                self._drop_internal(node, component, freed)

    def _evict_leaf(self, leaf: Node, freed: Freed) -> Node:
        """Demote a backed-up leaf; back up or delete any other, by policy. Its parent."""
        if leaf.full.host is not None or (self.config.writes_back and self._write_back(leaf)):
            self._demote(leaf, freed)
        elif self.config.writes_back:
            self._refused(leaf, freed)
        else:
            self._delete(leaf, freed)
        return leaf.above

    def _write_back(self, leaf: Node) -> bool:
        """Copy a leaf to the host and wait until the copy has run; False: refused (6.4)."""
        if not self._back_up_one(leaf):
            return False
        self._drain_writes()
        return True

    def _refused(self, leaf: Node, freed: Freed) -> None:
        """A leaf that the host has no room for stays, and is not tried again in this call (U-5)."""
        self.stuck.add(leaf)

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
        """FULL goes and takes all else along; SWA's slots are found through FULL's."""
        full = leaf.full.device
        if full is None:
            raise InternalError(f"leaf {leaf.id} has no device data")
        self._emit_removed(GPU, leaf)
        self.memory.free(FULL, full)
        self._cascade(leaf, freed)
        self._take_device(leaf, FULL)
        freed[FULL] += len(full)

    def _cascade(self, leaf: Node, freed: Freed) -> None:
        """What depends on a leaf's FULL data goes with it (5.6)."""
        for component in self.config.auxiliary:
            if leaf.value(component).device is not None:
                self._drop_component(leaf, component, freed)

    def _drop_internal(self, node: Node, component: str, freed: Freed) -> None:
        """A node that must stay loses its data of one component: a tombstone."""
        self._drop_component(node, component, freed)
        if component == SWA:
            self._cascade_state(node, freed)
        self._refresh_leaf_sets(node)

    def _cascade_state(self, node: Node, freed: Freed) -> None:
        """A state is useful only with the window behind it (5.6)."""
        if node.mamba.device is not None:
            self._drop_component(node, MAMBA, freed)

    def _drop_component(self, node: Node, component: str, freed: Freed) -> None:
        """SWA goes by FULL slots, so that the map is cleared with it."""
        if node.full.device is None:
            raise InternalError(f"node {node.id} has {component} data without FULL data")
        if node.value(component).lock:
            raise InternalError(f"{component} data of node {node.id} is locked")
        if component == SWA:
            self.memory.free_swa(node.full.device)
        slots = self._take_device(node, component)
        if component != SWA:
            self.memory.free(component, slots)
        freed[component] += len(slots)
