"""A snapshot as an invariant reads it: its fields, and what is derived from them once.

A view notes which fields are read while a check runs (``reading``). A check is a pure function,
so as long as those fields are unchanged its answer is too; the incremental checker rests on that
and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from radixproof.model.blocks import Event
from radixproof.model.config import CacheConfig
from radixproof.model.options import UNPINNED_LOADS
from radixproof.model.snapshot import (
    ROOT,
    Candidate,
    Node,
    Pool,
    Receipt,
    Request,
    Session,
    Snapshot,
    Transfer,
)
from radixproof.model.storage import StorageState


class View:
    """Read access to one snapshot. Checks read nothing else."""

    FIELDS = tuple(f.name for f in fields(Snapshot) if f.name not in ("config", "options"))
    """Names of the fields that are tracked; configuration and options never change."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.config: CacheConfig = snapshot.config
        self.options = snapshot.options
        self.reading: set[str] = set()
        """Names of the snapshot's fields that were read since this was last set."""
        self._derived: dict[str, Any] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        self.reading.add("nodes")
        return self.snapshot.nodes

    @property
    def device_leaves(self) -> tuple[int, ...]:
        self.reading.add("device_leaves")
        return self.snapshot.device_leaves

    @property
    def host_leaves(self) -> tuple[int, ...]:
        self.reading.add("host_leaves")
        return self.snapshot.host_leaves

    @property
    def access_order(self) -> tuple[int, ...]:
        self.reading.add("access_order")
        return self.snapshot.access_order

    @property
    def creation_rank(self) -> tuple[int, ...]:
        self.reading.add("creation_rank")
        return self.snapshot.creation_rank

    @property
    def lru(self) -> Mapping[str, tuple[int, ...]]:
        self.reading.add("lru")
        return self.snapshot.lru

    @property
    def host_lru(self) -> Mapping[str, tuple[int, ...]]:
        self.reading.add("host_lru")
        return self.snapshot.host_lru

    @property
    def evictable(self) -> Mapping[str, int]:
        self.reading.add("evictable")
        return self.snapshot.evictable

    @property
    def protected(self) -> Mapping[str, int]:
        self.reading.add("protected")
        return self.snapshot.protected

    @property
    def pools(self) -> Mapping[str, Pool]:
        self.reading.add("pools")
        return self.snapshot.pools

    @property
    def full_to_swa(self) -> tuple[int, ...]:
        self.reading.add("full_to_swa")
        return self.snapshot.full_to_swa

    @property
    def writes(self) -> tuple[Transfer, ...]:
        self.reading.add("writes")
        return self.snapshot.writes

    @property
    def loads(self) -> tuple[Transfer, ...]:
        self.reading.add("loads")
        return self.snapshot.loads

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        self.reading.add("receipts")
        return self.snapshot.receipts

    @property
    def requests(self) -> tuple[Request, ...]:
        self.reading.add("requests")
        return self.snapshot.requests

    @property
    def armed_failures(self) -> Mapping[str, int]:
        self.reading.add("armed_failures")
        return self.snapshot.armed_failures

    @property
    def load_locks(self) -> tuple[str, ...]:
        """Tiers on which a pending load holds its target."""
        return ("device",) if UNPINNED_LOADS in self.options else ("device", "host")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        self.reading.add("candidates")
        return self.snapshot.candidates

    @property
    def events(self) -> tuple[Event, ...]:
        self.reading.add("events")
        return self.snapshot.events

    @property
    def sessions(self) -> tuple[Session, ...]:
        self.reading.add("sessions")
        return self.snapshot.sessions

    @property
    def storage(self) -> StorageState | None:
        self.reading.add("storage")
        return self.snapshot.storage

    # Derived from the nodes

    @property
    def children(self) -> Mapping[int, tuple[int, ...]]:
        """Index of a node (``ROOT`` too) -> indices of its children."""
        nodes = self.nodes
        if "children" not in self._derived:
            below: dict[int, list[int]] = {i: [] for i in range(ROOT, len(nodes))}
            for i, node in enumerate(nodes):
                below.setdefault(node.parent, []).append(i)
            self._derived["children"] = {i: tuple(c) for i, c in below.items()}
        children: Mapping[int, tuple[int, ...]] = self._derived["children"]
        return children

    def find(self, namespace: str, tokens: tuple[int, ...]) -> int | None:
        """Index of the node that spells ``tokens``; ``None`` if there is none."""
        nodes = self.nodes
        if "prefixes" not in self._derived:
            self._derived["prefixes"] = {(n.namespace, n.tokens): i for i, n in enumerate(nodes)}
        found: int | None = self._derived["prefixes"].get((namespace, tokens))
        return found

    def path(self, index: int) -> Iterator[int]:
        """The node and its ancestors below the root, upwards."""
        nodes = self.nodes
        for _ in nodes:  # a cycle of parents ends here, not never
            if index < 0:
                return
            yield index
            index = nodes[index].parent

    def name(self, index: int) -> str:
        """How a message calls a node."""
        if index < 0:
            return "the root" if index == ROOT else "a detached node"
        node = self.nodes[index]
        return f"node {node.namespace + ':' if node.namespace else ''}{list(node.tokens)}"
