"""The shape of the tree (domain.md 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_MAMBA, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import MAMBA
from radixproof.model.snapshot import ROOT


@state_invariant(
    "I-3",
    formula="all n: n.parent holds n, and prefix(n) = prefix(n.parent) ++ n.key",
    without_it="A node with another parent is locked, split and pruned in the wrong place.",
    taught_by="M-22",
)
def parents_and_children_agree(view: View) -> Iterator[Fault]:
    """A node's parent pointer is the node that holds it, and its prefix continues that one's."""
    nodes = view.nodes
    for i, n in enumerate(nodes):
        if n.parent_pointer != n.parent:
            yield Fault(f"{view.name(i)} points to {view.name(n.parent_pointer)}", (i,))
        if n.parent == ROOT:
            if n.tokens != n.key:
                yield Fault(f"{view.name(i)} hangs on the root but its key is {n.key}", (i,))
        elif not 0 <= n.parent < i:
            yield Fault(f"{view.name(i)} is not below the root", (i,))
        elif nodes[n.parent].tokens + n.key != n.tokens:
            yield Fault(f"{view.name(i)} does not continue {view.name(n.parent)}", (i, n.parent))
        elif nodes[n.parent].namespace != n.namespace:
            yield Fault(f"{view.name(i)} has its parent in another namespace", (i, n.parent))


@state_invariant(
    "I-4",
    formula="all n: n.key != (), n is held under (namespace, first page of n.key), once per parent",
    without_it="Two children for one next page: which of them a match finds is chance.",
    taught_by="M-9",
)
def children_have_distinct_labels(view: View) -> Iterator[Fault]:
    """A child is held under its first page, and no two children of a node share it."""
    size, seen = view.config.page_size, set()
    for i, n in enumerate(view.nodes):
        if not n.key or n.label != n.key[:size]:
            yield Fault(f"{view.name(i)} is held under {list(n.label)}", (i,))
        place = (n.parent, n.namespace, n.key[:size])
        if place in seen:
            yield Fault(f"{view.name(i)} shares its label with a sibling", (i,))
        seen.add(place)


@state_invariant(
    "I-5",
    formula="all n: len(n.key) mod page_size = 0",
    without_it="Pools free whole pages: half a page of somebody else's data would go along.",
    taught_by="M-9, M-32",
)
def keys_are_whole_pages(view: View) -> Iterator[Fault]:
    """Every node's key is a whole number of pages long."""
    size = view.config.page_size
    for i, n in enumerate(view.nodes):
        if len(n.key) % size:
            yield Fault(f"{view.name(i)} has {len(n.key)} tokens, pages have {size}", (i,))


@state_invariant(
    "I-6",
    formula="all n: n.FULL.device and parent(n) != root => parent(n).FULL.device",
    without_it="A match would hand out a device prefix with a hole in it.",
    taught_by="M-29",
)
def device_data_is_prefix_closed(view: View) -> Iterator[Fault]:
    """Above device-resident FULL data lies device-resident FULL data."""
    nodes = view.nodes
    for i, n in enumerate(nodes):
        if n.full.device is not None and n.parent >= 0 and nodes[n.parent].full.device is None:
            yield Fault(f"{view.name(i)} is on device, its parent is not", (i, n.parent))


@state_invariant(
    "I-7",
    formula="all n: n.FULL.device or n.FULL.host",
    without_it="A dead node blocks every match that passes it and is never freed.",
    taught_by="M-24",
)
def nodes_have_data(view: View) -> Iterator[Fault]:
    """Every node has FULL data on some tier."""
    for i, n in enumerate(view.nodes):
        if n.full.device is None and n.full.host is None:
            yield Fault(f"{view.name(i)} has no FULL data anywhere", (i,))


@state_invariant(
    "I-8",
    formula="all n: n.SWA.device => n.FULL.device, and n.SWA.host => n.FULL.host",
    without_it="SWA slots are found and freed through FULL slots: without those they leak.",
    taught_by="M-7",
)
def swa_data_needs_full_data(view: View) -> Iterator[Fault]:
    """SWA data lies on a tier only where FULL data does."""
    for i, n in enumerate(view.nodes):
        if n.swa is None:
            continue
        if n.swa.device is not None and n.full.device is None:
            yield Fault(f"{view.name(i)} has SWA without FULL on device", (i,))
        if n.swa.host is not None and n.full.host is None:
            yield Fault(f"{view.name(i)} has SWA without FULL on host", (i,))


@state_invariant(
    "I-8",
    formula="all n: n.MAMBA.device => n.FULL.device, and n.MAMBA.host => n.FULL.host",
    without_it="A state without the KV before it is of no use, and nothing would ever free it.",
    taught_by="M-7",
    holds_under=WITH_MAMBA,
)
def states_need_full_data(view: View) -> Iterator[Fault]:
    """A state lies on a tier only where its node's FULL data does."""
    for i, n in enumerate(view.nodes):
        if n.mamba is None:
            continue
        if n.mamba.device is not None and n.full.device is None:
            yield Fault(f"{view.name(i)} has a state without FULL on device", (i,))
        if n.mamba.host is not None and n.full.host is None:
            yield Fault(f"{view.name(i)} has a state without FULL on host", (i,))


@state_invariant(
    "I-26",
    formula="all n, tier: len(n.c.tier) = len(n.key) for FULL and SWA, 1 for MAMBA, if present",
    without_it="Slots are found by token offset; one slot too few shifts all that follow.",
    taught_by="M-29",
)
def values_have_one_slot_per_token(view: View) -> Iterator[Fault]:
    """A value that is present has exactly one slot per token of its node, a state one slot."""
    for i, n in enumerate(view.nodes):
        for component in view.config.components:
            p = n.placement(component)
            length = 1 if component == MAMBA else len(n.key)
            if p is None:
                continue
            for tier, slots in (("device", p.device), ("host", p.host)):
                if slots is not None and len(slots) != length:
                    yield Fault(
                        f"{view.name(i)}: {len(slots)} {component} slots on {tier}"
                        f" instead of {length}",
                        (i,),
                    )


@state_invariant(
    "X-disable",
    formula="disable => N = {}",
    without_it="A cache that was switched off would go on answering, with nobody looking after it.",
    taught_by="M-52",
)
def a_disabled_cache_keeps_nothing(view: View) -> Iterator[Fault]:
    """A cache that is switched off has no nodes."""
    if view.config.disable and view.nodes:
        yield Fault(f"{len(view.nodes)} nodes in a disabled cache", tuple(range(len(view.nodes))))


@state_invariant(
    "I-45",
    formula="all n, parent(n) != root: parent.priority >= n.priority, parent.created <= n.created",
    without_it="Eviction by priority or age would take a parent before its child.",
    taught_by="M-22",
)
def parents_are_older_and_no_less_urgent(view: View) -> Iterator[Fault]:
    """A parent's priority is at least its children's, and it was created no later."""
    nodes, rank = view.nodes, view.creation_rank
    for i, n in enumerate(nodes):
        if n.parent < 0:
            continue
        if nodes[n.parent].priority < n.priority:
            yield Fault(f"{view.name(i)} has a higher priority than its parent", (i, n.parent))
        if len(rank) == len(nodes) and rank[n.parent] > rank[i]:
            yield Fault(f"{view.name(i)} is older than its parent", (i, n.parent))
