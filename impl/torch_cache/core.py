"""State of the cache and the bookkeeping that every operation goes through.

Whoever changes a value, a lock or a child calls the setters below, which keep the sizes, the
recency lists and the leaf sets exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from radixproof.impl.torch_cache.errors import ArgumentError
from radixproof.impl.torch_cache.lru import LruList
from radixproof.impl.torch_cache.memory import Memory
from radixproof.impl.torch_cache.node import Node, Receipt, Value
from radixproof.impl.torch_cache.transfer import (
    DeferredEngine,
    Queues,
    StreamEngine,
    TransferEngine,
)
from radixproof.model.blocks import Event
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.units import units


class Core:
    """Tree, tracking structures, memory and queues of one cache."""

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        self.config = config
        self.page = config.page_size
        self.has_swa = config.has_swa
        self.has_mamba = config.has_mamba
        self.has_host = config.has_host
        self.memory = Memory(config, device)
        self.engine: TransferEngine = (
            StreamEngine(device) if device.type == "cuda" else DeferredEngine()
        )
        self.events: list[Event] = []
        """Of the operation that runs, or ran last."""
        self._clear_tree()
        self._emit_cleared()

    def _emit_cleared(self) -> None:
        """Overridden where events are made."""

    def _clear_tree(self) -> None:
        self.clock = 0
        self.ids = 0
        self.root = self._new_node("", (), None)
        self.device_leaves: dict[Node, None] = {}
        self.host_leaves: dict[Node, None] = {}
        self.device_lists = {c: LruList() for c in self.config.auxiliary}
        self.host_lists = {c: LruList() for c in self.config.auxiliary}
        self.evictable = dict.fromkeys(self.config.components, 0)
        self.protected = dict.fromkeys(self.config.components, 0)
        self.queues = Queues.empty()
        self.receipts: dict[Receipt, None] = {}

    def _tick(self) -> int:
        self.clock += 1
        return self.clock

    def _new_node(self, namespace: str, key: tuple[int, ...], parent: Node | None) -> Node:
        self.ids += 1
        return Node(self.ids, namespace, key, parent, self._tick())

    # Looking up

    def _units(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What the tree's keys are made of: tokens, or pairs of adjacent tokens."""
        return units(tokens, self.config.bigram)

    def _named(self, namespace: str, tokens: tuple[int, ...]) -> Node:
        """The node that an operation names by its tokens."""
        key = self._units(tokens)
        if tokens and not key:
            raise ArgumentError("no node spells a single token of a pair")
        return self._find(namespace, key)

    def _find(self, namespace: str, tokens: tuple[int, ...]) -> Node:
        """The node (or root) that spells exactly ``tokens``; looking changes nothing."""
        node = self.root
        while node.end < len(tokens):
            label = (namespace, tokens[node.end : node.end + self.page])
            child = node.children.get(label)
            if child is None or child.key != tokens[child.start : child.end]:
                raise ArgumentError("no node spells these tokens")
            node = child
        return node

    # Values

    def _set_device(self, node: Node, component: str, slots: Tensor) -> None:
        """Data appears on the device; it comes first in its list and leaves the host list."""
        value = node.value(component)
        value.device = slots
        sizes = self.protected if value.lock else self.evictable
        sizes[component] += len(slots)
        if component != FULL:
            self.device_lists[component].push_front(value.link)
            self.host_lists[component].remove(value.host_link)

    def _take_device(self, node: Node, component: str) -> Tensor:
        """Data leaves the device; what is on host only becomes reclaimable there."""
        value = node.value(component)
        slots = value.device
        assert slots is not None, "no device value to take"
        value.device = None
        sizes = self.protected if value.lock else self.evictable
        sizes[component] -= len(slots)
        if component != FULL:
            self.device_lists[component].remove(value.link)
            self._list_host_only(node, component)
        return slots

    def _take_host(self, node: Node, component: str) -> Tensor:
        value = node.value(component)
        slots = value.host
        assert slots is not None, "no host value to take"
        value.host = None
        if component != FULL:
            self.host_lists[component].remove(value.host_link)
        return slots

    def _list_host_only(self, node: Node, component: str) -> None:
        """Into the host list, if host eviction may reclaim the node's data (I-19)."""
        value = node.value(component)
        if value.device is None and value.host is not None and value.host_lock == 0:
            self.host_lists[component].push_front(value.host_link)

    # Leaf sets

    def _is_device_leaf(self, node: Node) -> bool:
        """Device-resident, unlocked, no child device-resident (domain.md 2)."""
        return (
            not node.is_root
            and node.full.device is not None
            and not (node.full.lock or node.swa.lock or node.mamba.lock)
            and all(child.full.device is None for child in node.children.values())
        )

    def _is_host_leaf(self, node: Node) -> bool:
        """Evicted, backed up, childless, unlocked on both tiers (domain.md 2)."""
        full, swa, mamba = node.full, node.swa, node.mamba
        return (
            not node.is_root
            and full.device is None
            and full.host is not None
            and not node.children
            and not (full.lock or swa.lock or mamba.lock)
            and not (full.host_lock or swa.host_lock or mamba.host_lock)
        )

    def _refresh_leaf_sets(self, *nodes: Node) -> None:
        """Re-examine nodes after a change of their data, locks or children (5.3)."""
        for node in nodes:
            if self._is_device_leaf(node):
                self.device_leaves[node] = None
            else:
                self.device_leaves.pop(node, None)
            if self._is_host_leaf(node):
                self.host_leaves[node] = None
            else:
                self.host_leaves.pop(node, None)

    # Shape

    def _link(self, node: Node) -> None:
        node.above.children[node.label(self.page)] = node

    def _unlink(self, node: Node) -> None:
        """Remove a node; its parent may become a leaf."""
        parent = node.above
        del parent.children[node.label(self.page)]
        self.device_leaves.pop(node, None)
        self.host_leaves.pop(node, None)
        self._refresh_leaf_sets(parent)

    def _split(self, lower: Node, length: int) -> Node:
        """A new node takes over the first ``length`` tokens (5.4); ``lower`` keeps its identity."""
        upper = self._new_node(lower.namespace, lower.key[:length], lower.parent)
        upper.hit, upper.priority, upper.created = lower.hit, lower.priority, lower.created
        self._link(upper)
        lower.key = lower.key[length:]
        lower.start += length
        lower.parent = upper
        lower.accessed = (self._tick(), 0)
        self._link(lower)
        self._split_digests(lower, upper, length // self.page)
        self._split_values(lower, upper, length)
        self._split_locks(lower, upper)
        self._split_recency(lower, upper)
        self._split_transfers(lower, upper)
        self._refresh_leaf_sets(upper, lower)
        return upper

    def _split_digests(self, lower: Node, upper: Node, pages: int) -> None:
        """Digests depend on tokens alone, so they survive a split (I-27)."""
        if lower.digests is not None:
            upper.digests, lower.digests = lower.digests[:pages], lower.digests[pages:]

    def _split_values(self, lower: Node, upper: Node, length: int) -> None:
        """KV is cut at the same token; a state stays below, where its prefix ends."""
        for component in self._kv_components():
            below, above = lower.value(component), upper.value(component)
            if below.device is not None:
                above.device = below.device[:length].clone()
                below.device = below.device[length:].clone()
            if below.host is not None:
                above.host = below.host[:length].clone()
                below.host = below.host[length:].clone()

    def _kv_components(self) -> list[str]:
        """Components with data per token, which belong to both parts of a split."""
        return [c for c in self.config.components if c != MAMBA]

    def _split_locks(self, lower: Node, upper: Node) -> None:
        """Whoever held the node holds both parts; segments that ended here end at the upper."""
        for component in self._kv_components():
            self._split_counts(lower.value(component), upper.value(component))
        for receipt in lower.tops:
            if receipt.full_top is lower:
                receipt.full_top = upper
            if receipt.swa_top is lower:
                receipt.swa_top = upper
        upper.tops, lower.tops = lower.tops, []

    def _split_counts(self, lower: Value, upper: Value) -> None:
        upper.lock, upper.host_lock = lower.lock, lower.host_lock

    def _split_recency(self, lower: Node, upper: Node) -> None:
        """A split is no use of the node: both parts stand where it stood, the upper one behind."""
        if self.has_swa:
            self.device_lists[SWA].push_behind(lower.swa.link, upper.swa.link)
            self.host_lists[SWA].push_behind(lower.swa.host_link, upper.swa.host_link)

    def _split_transfers(self, lower: Node, upper: Node) -> None:
        """Copies of the node are copies of both parts (M-2)."""
        if lower.pending is not None:
            self._split_mark(lower, upper)
            self._split_publish_nodes(lower, upper)
        for load in self.queues.pending_loads():
            _insert_before(load.nodes, lower, upper)

    def _split_mark(self, lower: Node, upper: Node) -> None:
        upper.pending = lower.pending

    def _split_publish_nodes(self, lower: Node, upper: Node) -> None:
        """The write's acknowledgement covers the upper part too."""
        assert lower.pending is not None, "no write covers the node"
        write = self.queues.find_write(lower.pending)
        if write is not None:
            _insert_before(write.nodes, lower, upper)


def _insert_before(nodes: list[Node], lower: Node, upper: Node) -> None:
    if lower in nodes:
        nodes.insert(nodes.index(lower), upper)
