"""The tree of a release whose nodes are Python objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from radixproof.impl.sglang.cache import SglangCache
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.snapshot import DETACHED, ROOT, Node, Placement, Slots
from radixproof.model.units import units

_EMPTY = Placement()
_Pending = tuple[Any, int, tuple[int, ...], tuple[int, ...]]
"""A node yet to be visited: itself, its parent's index and prefix, the label that holds it."""


class PythonTree:
    """See tree.py."""

    def __init__(self, cache: SglangCache) -> None:
        self.config = cache.config
        self.by_number = cache.release.has_tree_core
        self.core = getattr(cache.tree, "tree_core", cache.tree)
        types = cache.release.ComponentType
        self.types = {c: getattr(types, c.upper()) for c in self.config.components}
        self.order: list[Any] = []
        self.labels: list[tuple[int, ...]] = []
        self.spelled: list[tuple[int, ...]] = []
        self.parents: list[int] = []
        self._walk()
        self.index = {id(n): i for i, n in enumerate(self.order)}
        self.index[id(self.core.root_node)] = ROOT
        self.by_id = {n.id: i for i, n in enumerate(self.order)}
        self.by_id[self.core.root_node.id] = ROOT

    def _walk(self) -> None:
        """Depth first, siblings by (namespace, key); children as their parents hold them."""
        pending: list[_Pending] = []
        pending.extend((c, ROOT, (), label) for c, label in self._children(self.core.root_node))
        while pending:
            node, parent, prefix, label = pending.pop()
            spelled = prefix + _tokens(node.key)
            index = len(self.order)
            self.order.append(node)
            self.labels.append(label)
            self.spelled.append(spelled)
            self.parents.append(parent)
            pending.extend((child, index, spelled, at) for child, at in self._children(node))

    def _children(self, node: Any) -> list[tuple[Any, tuple[int, ...]]]:
        """Last sibling first, each with the label under which the parent holds it."""
        held = [(c, _label(key, c)) for key, c in node.children.items()]
        held.sort(key=lambda h: (h[0].key.extra_key or "", _tokens(h[0].key)), reverse=True)
        return held

    def of(self, node: Any) -> int:
        """By object or by id."""
        if isinstance(node, int):
            return self.by_id.get(node, DETACHED)
        return self.index.get(id(node), DETACHED)

    def start(self, index: int) -> int:
        return len(self.spelled[index]) - len(self.order[index].key)

    def node_at(self, namespace: str, tokens: tuple[int, ...]) -> Any:
        if not tokens:
            found = self.core.root_node
        else:
            spelled = ((n, s) for n, s in zip(self.order, self.spelled, strict=True))
            same = (n for n, s in spelled if s == tokens and (n.key.extra_key or "") == namespace)
            found = next(same, None)
        if found is None:
            return None
        return found.id if self.by_number else found

    def device(self, index: int, component: str) -> Slots | None:
        return _slots(self._data(index, component).value)

    def marked(self, anchor: int, component: str, mark: Any, *, host: bool) -> int | None:
        key, index = "host_uuid" if host else "uuid", anchor
        while mark is not None and index >= 0:
            if self._data(index, component).metadata.get(key) == mark:
                return self.start(index)
            index = self.parents[index]
        return 0

    def _data(self, index: int, component: str) -> Any:
        return self.order[index].component_data[self.types[component]]

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.node(i, n) for i, n in enumerate(self.order))

    def node(self, index: int, node: Any) -> Node:
        return Node(
            namespace=node.key.extra_key or "",
            tokens=self.spelled[index],
            key=_tokens(node.key),
            label=self.labels[index],
            parent=self.parents[index],
            parent_pointer=self.of(node.parent),
            id=node.id,
            full=self.placement(index, FULL),
            swa=self.placement(index, SWA) if self.config.has_swa else None,
            hit=node.hit_count,
            priority=getattr(node, "priority", 0),
            pending=getattr(node, "write_through_pending_id", None),
            mamba=self.placement(index, MAMBA) if self.config.has_mamba else None,
        )

    def placement(self, index: int, component: str) -> Placement:
        data = self._data(index, component)
        held = data.value is not None or data.host_value is not None
        if not (held or data.lock_ref or data.host_lock_ref):
            return _EMPTY
        return Placement(
            _slots(data.value), _slots(data.host_value), data.lock_ref, data.host_lock_ref
        )

    def hashes(self) -> tuple[tuple[str, ...] | None, ...]:
        held = (node.hash_value for node in self.order)
        return tuple(None if h is None else tuple(h) for h in held)

    def tracking(self) -> dict[str, Any]:
        core, order = self.core, self.order
        accessed = sorted(order, key=lambda n: n.last_access_time, reverse=True)
        made = [getattr(n, "creation_time", 0) for n in order]
        ranks = {time: i for i, time in enumerate(sorted(set(made)))}
        auxiliary = [c for c in self.config.components if c != FULL]
        return {
            "device_leaves": self.indices(core.evictable_device_leaves),
            "host_leaves": self.indices(core.evictable_host_leaves),
            "access_order": tuple(map(self.of, accessed)),
            "creation_rank": tuple(ranks[time] for time in made),
            "lru": {c: self.listed(core.lru_lists, c) for c in auxiliary},
            "host_lru": {c: self.listed(core.host_lru_lists, c) for c in auxiliary},
            "evictable": self.sizes(core.component_evictable_size_),
            "protected": self.sizes(core.component_protected_size_),
        }

    def indices(self, nodes: Iterable[Any]) -> tuple[int, ...]:
        return tuple(sorted(map(self.of, nodes)))

    def sizes(self, by_type: Any) -> dict[str, int]:
        return {c: int(by_type[self.types[c]]) for c in self.config.components}

    def listed(self, lists: Any, component: str) -> tuple[int, ...]:
        """A recency list by its links, most recent first."""
        held = lists[self.types[component]]
        found: list[int] = []
        node = held.head.lru_next[held._pt]
        while node is not held.tail and len(found) <= len(self.order):
            if node is not getattr(held, "mid", None) and node is not getattr(held, "cursor", None):
                found.append(self.of(node))
            node = node.lru_next[held._pt]
        return tuple(found)


def _tokens(key: Any) -> tuple[int, ...]:
    """The units of a key; of pairs it holds one token more than it has units."""
    pairs = bool(key.is_bigram)
    return units(tuple(key.token_ids[: len(key) + pairs]), pairs)


def _label(key: Any, child: Any) -> tuple[int, ...]:
    """The units of a child's edge label: one or a page of them, with or without a namespace."""
    return _label_of_pairs(key) if child.key.is_bigram else _label_of_tokens(key)


def _label_of_pairs(key: Any) -> tuple[int, ...]:
    plain = key if isinstance(key[0], int | tuple) else key[-1]
    pairs = (plain,) if isinstance(plain[0], int) else plain
    return tuple(u for pair in pairs for u in units(tuple(pair), True))


def _label_of_tokens(key: Any) -> tuple[int, ...]:
    if isinstance(key, int):
        return (key,)
    if isinstance(key, bytes | bytearray):
        return tuple(memoryview(key).cast("q"))
    parts = tuple(key)
    if parts and all(isinstance(part, int) for part in parts):
        return parts
    return _label_of_tokens(parts[-1])


def _slots(value: Tensor | None) -> Slots | None:
    return None if value is None else tuple(value.tolist())
