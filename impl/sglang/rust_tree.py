"""The tree of a Rust core, read through the getters that its Python shell has.

There are no node objects. Which nodes there are, who hangs below whom, how long edges are and how
often FULL is locked is read off the core's own listing of the tree; keys, slots and the rest come
node by node from the getters with which the shell prepares copies to the storage tier. Those need
page hashes, which the core makes for itself when they are asked for
(``backfill_missing_hash_values``, with which a server attaches a storage tier): a note on each node
that nothing reads while there is no such tier.

Whether a state is locked is not shown, so it counts as locked while a live receipt covers it, and
host data while a storage tier reads it: then
the sizes that the core keeps, and what it evicts, are held against what it was asked to protect.
Not shown: see ``HIDES_TRACKING`` and ``HIDES_LOCKS`` in model/options.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.listing import Listed, listed
from radixproof.impl.sglang.receipts import receipts
from radixproof.impl.sglang.release import NotSglang
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.snapshot import DETACHED, ROOT, Node, Placement, Slots
from radixproof.model.units import units

NO_NODE = -1
NO_KEY = -1
"""Stands for each token of a node without FULL data, whose key the core does not show."""


@dataclass(slots=True)
class _Part:
    """What the getters say of one node; ``parent``: the id of the one that it itself points to."""

    id: int
    lock: int
    length: int
    parent: int
    namespace: str
    key: tuple[int, ...]
    device: dict[str, Slots | None]
    host: dict[str, Slots | None]
    children: list[_Part]


class RustTree:
    """See tree.py."""

    def __init__(self, cache: SglangCache) -> None:
        self.config = cache.config
        self.core = cache.tree.tree_core
        self.phase = cache.release.components.CacheTransferPhase.BACKUP_STORAGE
        types = cache.release.ComponentType
        self.types = {c: getattr(types, c.upper()) for c in self.config.components}
        self.root = int(self.core.root_node_handle())
        if cache.storage is None:  # otherwise a node without hashes is a finding
            self.core.backfill_missing_hash_values()
        self.order: list[_Part] = []
        self.spelled: list[tuple[int, ...]] = []
        self.parents: list[int] = []
        self._walk(self._parts())
        self.index = {part.id: i for i, part in enumerate(self.order)}
        self.index[self.root] = ROOT
        self.unlocked = self._unlocked_windows()
        self.stored = self._held_for_storage(cache)
        live = receipts(cache, self) if self.config.has_mamba else ()
        self.held_states = {r.anchor for r in live if r.state and r.tier == "device"}

    # Reading

    def _parts(self) -> list[_Part]:
        """The children of the root, with everything below them."""
        root, *below = listed(self.core)
        if root.id != self.root:
            raise NotSglang("the listing of the Rust core does not begin with its root")
        top: list[_Part] = []
        path: list[tuple[int, list[_Part]]] = [(self.root, top)]
        """Ids from the root down to the node listed last, each with its children so far."""
        for line in below:
            if not 1 <= line.depth <= len(path):
                raise NotSglang("the listing of the Rust core is no tree")
            above, siblings = path[line.depth - 1]
            part = self._part(line, above)
            siblings.append(part)
            path[line.depth :] = [(part.id, part.children)]
        return top

    def _part(self, line: Listed, above: int) -> _Part:
        core = self.core
        device = {c: self._device(line.id, c) for c in self.config.components}
        stored = core.build_storage_backup_spec(line.id, False)
        seen = core.snapshot_buffer_backup(line.id, False)
        if seen is not None:
            namespace, key = seen.key.extra_key, self._key(seen.key.token_ids)
        elif stored is not None:
            namespace, key = core.prefetch_anchor_info(line.id)[0], self._key(stored.token_ids)
        else:
            namespace, key = core.prefetch_anchor_info(line.id)[0], (NO_KEY,) * line.length
        host = {c: self._host(line.id, c) for c in self.config.auxiliary}
        host[FULL] = None if stored is None else _slots(stored.host_value)
        parent = self._parent(line.id, above, seen)
        namespace = namespace or ""
        lock, length = line.lock, line.length
        return _Part(line.id, lock, length, parent, namespace, key, device, host, [])

    def _key(self, tokens: Iterable[int]) -> tuple[int, ...]:
        return units(tuple(tokens), self.config.bigram)

    def _device(self, id: int, component: str) -> Slots | None:
        return _slots(self.core.get_component_device_value(id, self.types[component]))

    def _host(self, id: int, component: str) -> Slots | None:
        """Host slots of SWA or of a state: what a copy to the storage tier would read."""
        if not self.config.has_host:
            return None
        copies = self.core.build_hicache_transfers(self.types[component], id, self.phase)
        return _slots(copies[0].host_indices) if copies else None

    def _parent(self, id: int, above: int, seen: Any) -> int:
        """The id of the node that a node takes for its parent, where ``above`` holds it.

        Until 0.5.21 a node that is on host alone tells only the hashes of its ancestors' pages.
        """
        core = self.core
        if hasattr(core, "collect_path_info"):
            return int(core.collect_path_info([id])[0][-1].parent_id)
        if seen is not None:
            return int(seen.parent_node_id)
        pages: list[str] = []
        if above != self.root:
            pages = [*core.get_prefix_hash_values(above), *core.get_hash_values(above)]
        return above if core.get_prefix_hash_values(id) == pages else NO_NODE

    def _walk(self, top: list[_Part]) -> None:
        """Depth first, siblings by (namespace, key)."""
        pending: list[tuple[_Part, int, tuple[int, ...]]]
        pending = [(part, ROOT, ()) for part in _last_first(top)]
        while pending:
            part, parent, prefix = pending.pop()
            index, spelled = len(self.order), prefix + part.key
            self.order.append(part)
            self.spelled.append(spelled)
            self.parents.append(parent)
            pending.extend((child, index, spelled) for child in _last_first(part.children))

    def _unlocked_windows(self) -> set[tuple[int, int]]:
        """(position, FULL slot) of every token whose SWA is on device and locked by nobody."""
        if not self.config.has_swa:
            return set()
        rows = self.core.walk_for_kv_canary(True, True)
        return set(zip(rows.positions.tolist(), rows.slot_indices.tolist(), strict=True))

    # What tree.py asks for

    def of(self, node: Any) -> int:
        return self.index.get(node, DETACHED)

    def start(self, index: int) -> int:
        return len(self.spelled[index]) - len(self.order[index].key)

    def node_at(self, namespace: str, tokens: tuple[int, ...]) -> Any:
        if not tokens:
            return self.root
        spelled = zip(self.order, self.spelled, strict=True)
        same = (p for p, s in spelled if s == tokens and p.namespace == namespace)
        found = next(same, None)
        return None if found is None else found.id

    def device(self, index: int, component: str) -> Slots | None:
        return self.order[index].device[component]

    def marked(self, anchor: int, component: str, mark: Any, *, host: bool) -> int | None:
        return None

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.node(i, part) for i, part in enumerate(self.order))

    def node(self, index: int, part: _Part) -> Node:
        parent = self.parents[index]
        return Node(
            namespace=part.namespace,
            tokens=self.spelled[index],
            key=part.key,
            label=part.key[: self.config.page_size],
            parent=parent,
            parent_pointer=self.of(part.parent),
            id=part.id,
            full=Placement(
                part.device[FULL], part.host[FULL], part.lock, int(index in self.stored[FULL])
            ),
            swa=self._swa(index, part) if self.config.has_swa else None,
            hit=0,
            priority=0,
            pending=None,
            mamba=self._state(index, part) if self.config.has_mamba else None,
        )

    def _swa(self, index: int, part: _Part) -> Placement:
        """``lock`` is 1 for any number of locks on data that is there."""
        full, swa = part.device[FULL], part.device[SWA]
        locked = 0
        if full and swa and (self.start(index), full[0]) not in self.unlocked:
            locked = 1
        return Placement(swa, part.host[SWA], locked, int(index in self.stored[SWA]))

    def _held_for_storage(self, cache: SglangCache) -> dict[str, set[int]]:
        """Nodes whose host data a prefetch or a write to the store holds, by component.

        Locks on the host are not shown. What is held is the anchor, with the window that ends at
        it, and whatever else the write reads.
        """
        held: dict[str, set[int]] = {FULL: set(), SWA: set()}
        if cache.storage is None:
            return held
        ongoing = [*cache.tree.ongoing_prefetch.values(), *cache.tree.ongoing_backup.values()]
        for anchor in (self.of(entry[0]) for entry in ongoing):
            held[FULL] |= {anchor}
            index, end = anchor, len(self.spelled[anchor]) if anchor >= 0 else 0
            while self.config.has_swa and index >= 0:
                held[SWA].add(index)
                if end - self.start(index) >= self.config.sliding_window:
                    break
                index = self.parents[index]
        for operation in cache.storage.writing().values():
            slots = set(operation.host_indices.tolist())
            own = ((i, part.host[FULL]) for i, part in enumerate(self.order))
            held[FULL] |= {i for i, host in own if host and not slots.isdisjoint(host)}
        return held

    def _state(self, index: int, part: _Part) -> Placement:
        return Placement(part.device[MAMBA], part.host[MAMBA], int(index in self.held_states))

    def hashes(self) -> tuple[tuple[str, ...] | None, ...]:
        held = (tuple(self.core.get_hash_values(p.id)) for p in self.order)
        return tuple(h or None for h in held)

    def tracking(self) -> dict[str, Any]:
        nothing = dict.fromkeys(self.config.auxiliary, ())
        return {
            "device_leaves": (),
            "host_leaves": (),
            "access_order": (),
            "creation_rank": (),
            "lru": nothing,
            "host_lru": nothing,
            "evictable": self._sizes("evictable"),
            "protected": self._sizes("protected"),
        }

    def _sizes(self, which: str) -> dict[str, int]:
        return {c: int(getattr(self.core, f"{c}_{which}_size")()) for c in self.config.components}


def _last_first(parts: list[_Part]) -> list[_Part]:
    return sorted(parts, key=lambda p: (p.namespace, p.key), reverse=True)


def _slots(value: Tensor | None) -> Slots | None:
    return None if value is None else tuple(value.tolist())
