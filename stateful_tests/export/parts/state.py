"""What the cache holds, read after a step."""

from typing import Any, NamedTuple

import torch
from sglang.srt.mem_cache.unified_radix_cache import ComponentType

from radixproof.stateful_tests.export.parts.cache import Cache

Units = tuple[Any, ...]
"""Tokens, or pairs of them."""
Place = tuple[str, str, str, Units]
"""Component, tier, namespace, and the prefix that a token ends: splits change no place.

A state lies at the end of its node alone.
"""


class Seen(NamedTuple):
    """A node. ``tokens``: from the root to its end; ``parent``: its place in the list, or -1."""

    namespace: str
    tokens: Units
    parent: int
    node: Any

    def prefixes(self) -> list[Units]:
        """One for each token of the node's own key."""
        start = len(self.tokens) - len(self.node.key)
        return [self.tokens[: i + 1] for i in range(start, len(self.tokens))]

    def data(self, component: str) -> Any:
        return self.node.component_data[getattr(ComponentType, component)]


class State:
    """One look at the cache, token by token. Looking changes nothing."""

    def __init__(self, cache: Cache) -> None:
        self.nodes: list[Seen] = []
        self.slots: dict[Place, int] = {}
        self.locks: dict[Place, int] = {}
        self.visit(cache, cache.core.root_node, "", (), -1)
        for seen in self.nodes:
            for component in cache.components:
                data = seen.data(component)
                device, host = (data.value, data.lock_ref), (data.host_value, data.host_lock_ref)
                for tier, (value, lock) in (("device", device), ("host", host)):
                    ends = [seen.tokens] if component == "MAMBA" else seen.prefixes()
                    places = [(component, tier, seen.namespace, p) for p in ends]
                    self.locks |= dict.fromkeys(places, lock)
                    if value is not None:
                        self.slots |= dict(zip(places, value.tolist(), strict=True))
        self.free = {(c, "device"): device_free(cache, c) for c in cache.components}
        self.free |= {(c, "host"): host_free(cache, c) for c in cache.host_pools}
        self.hits = {(s.namespace, s.tokens): s.node.hit_count for s in self.nodes}
        self.in_flight = {name: session.in_flight for name, session in cache.sessions.items()}
        self.writes = self.pending(cache)
        auxiliary = [c for c in cache.components if c != "FULL"]
        self.recent = {c: self.recency(cache.core.lru_lists, c) for c in auxiliary}
        self.recent_on_host = {c: self.recency(cache.core.host_lru_lists, c) for c in auxiliary}

    def visit(self, cache: Cache, node: Any, namespace: str, tokens: Units, parent: int) -> None:
        for child in node.children.values():
            space = child.key.extra_key or ""
            ends = tokens + cache.spelled(child.key)
            self.nodes.append(Seen(space, ends, parent, child))
            self.visit(cache, child, space, ends, len(self.nodes) - 1)

    def pending(self, cache: Cache) -> dict[int, set[Place]]:
        """Backup that is not acknowledged -> FULL host places that it will publish."""
        if not cache.host_pools:
            return {}
        found = {}
        for number, entry in cache.tree.ongoing_write_through.items():
            nodes = entry[2] if len(entry) > 2 else [entry[0]]
            ids = {n if isinstance(n, int) else n.id for n in nodes}
            seen = [s for s in self.nodes if s.node.id in ids]
            found[number] = {("FULL", "host", s.namespace, p) for s in seen for p in s.prefixes()}
        return found

    def recency(self, lists: Any, component: str) -> list[tuple[str, Units]]:
        """Nodes in the list of a component, the most recent first."""
        names = {id(s.node): (s.namespace, s.tokens) for s in self.nodes}
        listed = lists[getattr(ComponentType, component)]
        found, node = [], listed.head.lru_next[listed._pt]
        while node is not listed.tail:
            if id(node) in names:
                found.append(names[id(node)])
            node = node.lru_next[listed._pt]
        return found

    def on(self, tier: str, component: str = "FULL") -> set[tuple[str, Units]]:
        """Namespace and prefix of every token with data there."""
        return {place[2:] for place in self.slots if place[:2] == (component, tier)}


def prefixes(units: Units) -> list[Units]:
    return [units[: i + 1] for i in range(len(units))]


def device_free(cache: Cache, component: str) -> list[int]:
    allocator, size = cache.allocator_of(component), cache.page_size
    if component == "MAMBA":
        return [int(slot) for slot in allocator.free_slots.tolist()]
    lists = (allocator.free_pages, getattr(allocator, "release_pages", None))
    pages = [p for listed in lists if listed is not None for p in listed.tolist()]
    return [p * size + i for p in pages for i in range(size)]


def host_free(cache: Cache, component: str) -> list[int]:
    pool = cache.host_pools[component]
    parts = [pool.free_slots, *getattr(pool, "release_slots", ())]
    return [slot for part in parts for slot in part.tolist()]


def contents(cache: Cache, component: str, tier: str) -> list[float]:
    """The number that each slot of a pool holds, -1 where its layers do not agree."""
    if tier == "device":
        layers = cache.layers[component]
    else:
        layers = cache.host_layers(cache.host_pools[component])
    flat = torch.cat([x.reshape(len(layers[0]), -1).cpu() for x in layers], dim=1)
    torn = (flat != flat[:, :1]).any(dim=1)
    return torch.where(torn, -1, flat[:, 0]).tolist()
