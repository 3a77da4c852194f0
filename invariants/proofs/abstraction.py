"""A snapshot as a structure of the theory: what the proofs see of a state.

Nodes are named by the subject's ids, which the lower part of a split keeps, so that one name means
one node before and after a step. Left out are keys, slot numbers, sizes, recency and the order of
queues; ``docs/proofs.md`` says what checks those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from radixproof.invariants.coverage import covered
from radixproof.invariants.data import tags_of
from radixproof.invariants.proofs.finite import ROOT, Individual, Structure
from radixproof.invariants.proofs.logic import Relation, Sort
from radixproof.invariants.proofs.vocabulary import (
    STATE,
    anchor,
    copies,
    edge,
    excused,
    fills,
    flying,
    good,
    has,
    holds,
    live,
    lock,
    marked,
    parent,
    ran,
    reached,
    takes,
    target,
    through,
    tiered,
    up,
    uses,
)
from radixproof.invariants.steps.compare import tier_of
from radixproof.invariants.view import View
from radixproof.model.options import ANCHORED_HOST_LOCKS, NO_PENDING_MARKS
from radixproof.model.snapshot import ROOT as ROOT_INDEX
from radixproof.model.snapshot import Receipt, Transfer

NOWHERE = "nowhere"
"""The individual that a reference to a deleted node leads to."""
TIERS = ("device", "host")


class Unreadable(ValueError):
    """A snapshot that is no structure, such as one with two nodes of one id."""


class Abstraction:
    """One snapshot, read. ``facts`` are mutable until ``structure`` freezes them."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.facts: dict[Relation, set[tuple[Any, ...]]] = {r: set() for r in STATE}
        self.name = {i: n.id for i, n in enumerate(view.nodes)}
        if len(set(self.name.values())) < len(view.nodes):
            raise Unreadable("two nodes have one id")
        self.holders: set[Individual] = set()
        self._configuration()
        self._forest()
        self._residency()
        self._transfers()
        self._receipts()
        self._hits()

    def structure(self, population: Mapping[Sort, tuple[Individual, ...]]) -> Structure:
        """The facts over these individuals, which include all that occur in them."""
        frozen = {r: frozenset(tuples) for r, tuples in self.facts.items()}
        return Structure(population, frozen)

    @property
    def nodes(self) -> set[Individual]:
        return {ROOT, *self.name.values()}

    def of(self, index: int) -> Individual:
        """The individual that an index of the snapshot means."""
        return ROOT if index == ROOT_INDEX else self.name.get(index, NOWHERE)

    def _configuration(self) -> None:
        config = self.view.config
        self.writes_through = config.writes_through
        self.facts[uses] = {(c,) for c in config.components}
        self.facts[through] = {()} if config.write_policy.startswith("write_through") else set()
        self.facts[tiered] = {()} if config.has_host else set()

    def _forest(self) -> None:
        self.facts[live] = {(n,) for n in self.nodes}
        self.facts[up] = {(ROOT, ROOT)}
        for i, n in enumerate(self.view.nodes):
            me = self.name[i]
            self.facts[parent].add((me, self.of(n.parent_pointer)))
            self.facts[up].add((me, ROOT))
            self.facts[up].update((me, self.name[a]) for a in self.view.path(i))

    def _residency(self) -> None:
        for tier in TIERS:
            self.facts[has].add(("full", tier, ROOT))
            self.facts[good].add(("full", tier, ROOT))
        for i, n in enumerate(self.view.nodes):
            tags = tags_of(n.namespace, n.tokens)
            for component in self.view.config.components:
                for tier in TIERS:
                    slots = tier_of(n.placement(component), tier)
                    if slots is None:
                        continue
                    self.facts[has].add((component, tier, self.name[i]))
                    pool = component if tier == "device" else f"host_{component}"
                    found = self.view.pools[pool].contents
                    wanted = tags[n.end - len(slots) if component == "mamba" else n.start :]
                    if tuple(found[x] if 0 <= x < len(found) else None for x in slots) == wanted:
                        self.facts[good].add((component, tier, self.name[i]))

    def _transfers(self) -> None:
        for transfer in (*self.view.writes, *self.view.loads):
            who = (transfer.stream, transfer.id)
            self.holders.add(who)
            self.facts[flying].add((who,))
            if transfer.stage == "executed":
                self.facts[ran].add((who,))
            if transfer.stream == "load":
                self.facts[target].add((who, self.of(transfer.node)))
            moving = copies if transfer.stream == "write" else fills
            for component, i in self._moved(transfer):
                self.facts[moving].add((component, who, self.of(i)))
        if NO_PENDING_MARKS in self.view.options:  # then what a write copies says what it covers
            self.facts[marked] = {(h, x) for k, h, x in self.facts[copies] if k == "full"}
        for i, n in enumerate(self.view.nodes):
            if n.pending is not None:
                self.holders.add(("write", n.pending))
                self.facts[marked].add((("write", n.pending), self.name[i]))

    def _moved(self, transfer: Transfer) -> Iterator[tuple[str, int]]:
        """Component and node of each value that a transfer reads and writes, slot for slot."""
        for move in transfer.moves:
            pairs = set(zip(move.device, move.host, strict=False))
            for i in self._covered(transfer):
                p = self.view.nodes[i].placement(move.component) if i >= 0 else None
                if p is not None and p.device is not None and p.host is not None:
                    mine = set(zip(p.device, p.host, strict=False))
                    if mine and mine <= pairs:
                        yield move.component, i

    def _covered(self, transfer: Transfer) -> Iterable[int]:
        """Nodes that the transfer may move; where none are named, those of its path."""
        if NO_PENDING_MARKS in self.view.options:
            return self.view.path(transfer.node)
        return transfer.nodes

    def _receipts(self) -> None:
        counted: dict[tuple[str, str, int], list[Individual]] = {}
        for receipt in self.view.receipts:
            who, tier = self._holder(receipt), receipt.tier
            self.holders.add(who)
            self.facts[holds].add((tier, who))
            self.facts[anchor].add((tier, who, self.of(receipt.anchor)))
            for component, start in extents(self.view, receipt):
                if start is None:
                    continue
                reaches_root = (component, tier, start) == ("full", "device", 0)
                path = list(self.view.path(receipt.anchor))
                nodes = path if reaches_root else covered(self.view, receipt, start)
                if component == "mamba":
                    nodes = path[:1]
                self.facts[takes].add((component, tier, who))
                if reaches_root or nodes:
                    top = ROOT if reaches_root else self.of(nodes[-1])
                    self.facts[edge].add((component, tier, who, top))
                for i in nodes:
                    counted.setdefault((component, tier, i), []).append(who)
        for i, n in enumerate(self.view.nodes):
            for component in self.view.config.components:
                p = n.placement(component)
                for tier in TIERS:
                    count = 0 if p is None else p.lock if tier == "device" else p.host_lock
                    if count < 0:
                        raise Unreadable("a lock count is negative, and so no set of holders")
                    holders = counted.get((component, tier, i), [])[:count]
                    holders += [("nobody", j) for j in range(count - len(holders))]
                    self.holders.update(holders)
                    self.facts[lock].update((component, tier, h, self.name[i]) for h in holders)

    def _holder(self, receipt: Receipt) -> Individual:
        """Clients and requests by name; a copy by its id, found through the node it ends at."""
        queue = {"write": self.view.writes, "load": self.view.loads}.get(receipt.owner)
        if queue is None:
            return (receipt.owner, receipt.name)
        ids = [t.id for t in queue if t.node == receipt.anchor]
        return (receipt.owner, ids[0]) if ids else (receipt.owner, "unknown", receipt.anchor)

    def _hits(self) -> None:
        if not self.writes_through:
            return
        for i, n in enumerate(self.view.nodes):
            if n.hit >= self.view.config.write_through_threshold:
                self.facts[reached].add((self.name[i],))
                if n.full.host is None:
                    self.facts[excused].add((self.name[i],))


def extents(view: View, receipt: Receipt) -> Iterator[tuple[str, int | None]]:
    """Component and first token of what a receipt covers, ``None``: nothing; MAMBA has no token."""
    full = receipt.full_start
    if receipt.tier == "host" and ANCHORED_HOST_LOCKS in view.options and receipt.anchor >= 0:
        node = view.nodes[receipt.anchor]
        full = node.start if node.full.host_lock else None
    yield "full", full
    yield "swa", receipt.swa_start
    yield "mamba", 0 if receipt.state else None
