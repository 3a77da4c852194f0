"""What a release with Python nodes shows of its state: the only code that reads it from outside.

Looking changes nothing. Where the release keeps no such thing, or where its representation cannot
say it, the field is in ``not_exposed`` and whatever needs it is reported as not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from radixproof.impl.sglang import payload
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.device import Event
from radixproof.impl.sglang.lifecycle import Running
from radixproof.impl.sglang.receipts import receipts
from radixproof.model.config import FULL, SWA
from radixproof.model.operations import LOAD, WRITE
from radixproof.model.snapshot import (
    DETACHED,
    ROOT,
    Move,
    Node,
    Placement,
    Pool,
    Request,
    Slots,
    Snapshot,
    Transfer,
    receipt_order,
)

_EMPTY = Placement()
_Pending = tuple[Any, int, tuple[int, ...], tuple[int, ...]]
"""A node yet to be visited: itself, its parent's index and prefix, the label that holds it."""


class Observer:
    """One look at a cache whose tree consists of Python objects."""

    def __init__(self, cache: SglangCache) -> None:
        self.cache = cache
        self.built = cache.built
        self.config = cache.config
        self.tree = cache.tree
        self.core = getattr(cache.tree, "tree_core", cache.tree)
        types = cache.release.ComponentType
        self.types = {FULL: types.FULL, SWA: types.SWA}
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
        held = [(c, _label(key)) for key, c in node.children.items()]
        held.sort(key=lambda h: (h[0].key.extra_key or "", _tokens(h[0].key)), reverse=True)
        return held

    def of(self, node: Any) -> int:
        """Index of a node object or of a node id."""
        if isinstance(node, int):
            return self.by_id.get(node, DETACHED)
        return self.index.get(id(node), DETACHED)

    def start(self, index: int) -> int:
        """Position of a node's first token."""
        return len(self.spelled[index]) - len(self.order[index].key)

    def node_at(self, namespace: str, tokens: tuple[int, ...]) -> Any:
        """The release's handle of the node that spells ``tokens``; ``None``: there is none."""
        if not tokens:
            found = self.core.root_node
        else:
            spelled = ((n, s) for n, s in zip(self.order, self.spelled, strict=True))
            same = (n for n, s in spelled if s == tokens and (n.key.extra_key or "") == namespace)
            found = next(same, None)
        if found is None:
            return None
        return found.id if self.cache.release.has_tree_core else found

    # The whole

    def snapshot(self) -> Snapshot:
        core, order = self.core, self.order
        accessed = sorted(order, key=lambda n: n.last_access_time, reverse=True)
        made = [getattr(n, "creation_time", 0) for n in order]
        ranks = {time: i for i, time in enumerate(sorted(set(made)))}
        components = self.config.components
        return Snapshot(
            config=self.config,
            nodes=tuple(self.node(i, n) for i, n in enumerate(order)),
            device_leaves=self.indices(core.evictable_device_leaves),
            host_leaves=self.indices(core.evictable_host_leaves),
            access_order=tuple(map(self.of, accessed)),
            creation_rank=tuple(ranks[time] for time in made),
            lru={SWA: self.listed(core.lru_lists, SWA)} if SWA in components else {},
            host_lru={SWA: self.listed(core.host_lru_lists, SWA)} if SWA in components else {},
            evictable=self.sizes(core.component_evictable_size_),
            protected=self.sizes(core.component_protected_size_),
            pools={name: self.pool(name) for name in self.config.pools},
            full_to_swa=self.map(),
            writes=tuple(self.on(WRITE)),
            loads=tuple(self.on(LOAD)),
            receipts=tuple(sorted(receipts(self.cache, self), key=receipt_order)),
            requests=tuple(self.request(r) for _, r in sorted(self.cache.requests.items())),
            armed_failures={},
            options=self.cache.release.options,
        )

    def indices(self, nodes: Iterable[Any]) -> tuple[int, ...]:
        return tuple(sorted(map(self.of, nodes)))

    def sizes(self, by_type: Any) -> dict[str, int]:
        return {c: int(by_type[self.types[c]]) for c in self.config.components}

    # Nodes

    def node(self, index: int, node: Any) -> Node:
        return Node(
            namespace=node.key.extra_key or "",
            tokens=self.spelled[index],
            key=_tokens(node.key),
            label=self.labels[index],
            parent=self.parents[index],
            parent_pointer=self.of(node.parent),
            id=node.id,
            full=self.placement(node, FULL),
            swa=self.placement(node, SWA) if self.config.has_swa else None,
            hit=node.hit_count,
            priority=getattr(node, "priority", 0),
            pending=getattr(node, "write_through_pending_id", None),
        )

    def placement(self, node: Any, component: str) -> Placement:
        data = node.component_data[self.types[component]]
        held = data.value is not None or data.host_value is not None
        if not (held or data.lock_ref or data.host_lock_ref):
            return _EMPTY
        return Placement(
            _slots(data.value), _slots(data.host_value), data.lock_ref, data.host_lock_ref
        )

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

    # Memory

    def pool(self, name: str) -> Pool:
        page = self.config.page_size
        host = name.startswith("host_")
        free = self._free_host(name) if host else self._free_device(name)
        return Pool(
            slots=self.config.pool_slots(name),
            page_size=page,
            first_slot=0 if host else page,
            free_pages=free,
            contents=payload.read(self.built.layers[name]),
        )

    def _free_device(self, component: str) -> tuple[int, ...]:
        """Page numbers. Allocators of page 1 list slots, the others pages."""
        allocator = self.built.device_allocator(component)
        return (*_ints(allocator.free_pages), *_ints(getattr(allocator, "release_pages", None)))

    def _free_host(self, name: str) -> tuple[int, ...]:
        pool = self.built.host[name.removeprefix("host_")]
        free = list(_ints(pool.free_slots))
        for part in getattr(pool, "release_slots", ()):
            free.extend(_ints(part))
        page = self.config.page_size
        return tuple(slot // page for slot in free[::page]) if page > 1 else tuple(free)

    def map(self) -> tuple[int, ...]:
        """The FULL-to-SWA map, with the rest of a request's last page as if it were mapped.

        A page is owned as a whole, but mapped token by token as the request fills it.
        """
        if not self.config.has_swa:
            return ()
        table = _ints(self.built.allocator.full_to_swa_index_mapping[:-1])
        filled = list(table)
        for running in self.cache.requests.values():
            row = self.row(running)
            for i in range(len(running.row), len(row)):
                before = filled[row[i - 1]]
                filled[row[i]] = before + 1 if before else 0
        return tuple(filled)

    def row(self, running: Running) -> Slots:
        """The slots of a request, with the rest of the page it has begun."""
        row = list(_ints(running.row))
        while len(row) % self.config.page_size:
            row.append(row[-1] + 1)
        return tuple(row)

    # Transfers

    def on(self, stream: str) -> Iterator[Transfer]:
        """Transfers of one stream, oldest first."""
        queued, acks = self.built.queues(stream)
        for batch, ack in enumerate(acks):
            yield from self.submitted(stream, batch, ack)
        for operation in queued:
            for id in operation.node_ids:
                yield self.transfer(stream, id, "queued", -1)

    def submitted(self, stream: str, batch: int, ack: Any) -> Iterator[Transfer]:
        event: Event = ack.finish_event
        stage = "executed" if event.done else "submitted"
        for id in ack.node_ids:
            yield self.transfer(stream, id, stage, batch)

    def transfer(self, stream: str, id: int, stage: str, batch: int) -> Transfer:
        moves = self.cache.transfers.of(stream, id)
        nodes = self.covered(stream, id, moves)
        moves = tuple(self.in_token_order(m, nodes) for m in moves)
        return Transfer(stream, id, self.of(id), nodes, stage, batch, moves)

    def in_token_order(self, move: Move, nodes: tuple[int, ...]) -> Move:
        """A copy sorts its slots by address; nodes list them by token."""
        data = (self.order[i].component_data[self.types[move.component]] for i in nodes if i >= 0)
        held = [slot for d in data if d.value is not None for slot in d.value.tolist()]
        pairs = dict(zip(move.device, move.host, strict=True))
        if held == list(move.device) or set(held) != set(pairs):
            return move
        return Move(move.component, tuple(held), tuple(pairs[slot] for slot in held))

    def covered(self, stream: str, id: int, moves: tuple[Move, ...]) -> tuple[int, ...]:
        """The publish nodes of a write; of a load, the nodes on the path that got its slots."""
        if stream == WRITE:
            entry = self.tree.ongoing_write_through.get(id)
            nodes = entry[2] if entry is not None and len(entry) > 2 else [id]
            return tuple(sorted(self.of(n) for n in nodes))
        got = {(m.component, slot) for m in moves for slot in m.device}
        found, index = [], self.of(id)
        while index >= 0:
            node = self.order[index]
            for component in self.config.components:
                value = node.component_data[self.types[component]].value
                if value is not None and len(value) and (component, int(value[0])) in got:
                    found.append(index)
                    break
            index = self.parents[index]
        return tuple(sorted(found))

    # Requests

    def request(self, running: Running) -> Request:
        lifecycle = self.cache.lifecycle
        return Request(
            name=running.name,
            namespace=running.namespace,
            tokens=running.tokens,
            prompt_len=running.prompt_len,
            committed=running.committed,
            protected=lifecycle.protected(running.req),
            swa_evicted=lifecycle.swa_evicted(running.req),
            last_node=self.of(running.req.last_node),
            priority=running.priority,
            row=self.row(running),
        )


def _tokens(key: Any) -> tuple[int, ...]:
    return tuple(key.token_ids[: len(key)])


def _label(key: Any) -> tuple[int, ...]:
    """The tokens of a child's edge label: one or a page of them, with or without a namespace."""
    if isinstance(key, int):
        return (key,)
    if isinstance(key, bytes | bytearray):
        return tuple(memoryview(key).cast("q"))
    parts = tuple(key)
    if parts and all(isinstance(part, int) for part in parts):
        return parts
    return _label(parts[-1])


def _slots(value: Tensor | None) -> Slots | None:
    return None if value is None else tuple(value.tolist())


def _ints(values: Any) -> tuple[int, ...]:
    if values is None:
        return ()
    return tuple(values.tolist()) if isinstance(values, Tensor) else tuple(map(int, values))
