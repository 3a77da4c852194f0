"""What is on the host tier (domain.md 7.1): continuity, closure, the shape of a path."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, WRITE_THROUGH, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault


@state_invariant(
    "I-1",
    formula="all n: n.FULL.host and parent(n) != root => parent(n).FULL.host",
    without_it="A host copy without its prefix on host can never be loaded back.",
    taught_by="SGLang 25065 (M-1b, M-1c)",
    holds_under=WRITE_THROUGH,
    upstream_name="A4",
)
def backup_is_prefix_closed(view: View) -> Iterator[Fault]:
    """Each backed-up node's parent is backed up."""
    if not view.config.writes_through:
        return
    nodes = view.nodes
    for i, n in enumerate(nodes):
        if n.full.host is not None and n.parent >= 0 and nodes[n.parent].full.host is None:
            yield Fault(f"{view.name(i)} is backed up, its parent is not", (i, n.parent))


@state_invariant(
    "I-2",
    formula="all n: n.FULL.device absent => all ancestors have FULL data, and n.FULL.host",
    without_it="A host-only prefix with a hole above it cannot be loaded from the root on.",
    taught_by="M-23, M-30",
    holds_under=WITH_HOST,
)
def host_only_nodes_can_be_reached(view: View) -> Iterator[Fault]:
    """Above an evicted node everything has FULL data, and an inner evicted node keeps its own."""
    nodes = view.nodes
    for i, n in enumerate(nodes):
        if n.full.device is not None:
            continue
        for a in view.path(i):
            if nodes[a].full.device is None and nodes[a].full.host is None:
                yield Fault(f"{view.name(i)} cannot be loaded: {view.name(a)} is empty", (i, a))


@state_invariant(
    "I-46",
    formula="no n: parent(n) device-only and n host-only",
    without_it="A load is one contiguous suffix of the path; its source would have a gap.",
    taught_by="SGLang 25065 (M-1b)",
    holds_under=WRITE_THROUGH,
)
def host_only_never_follows_device_only(view: View) -> Iterator[Fault]:
    """No host-only node lies below a device-only parent."""
    if not view.config.writes_through:
        return
    nodes = view.nodes
    for i, n in enumerate(nodes):
        if n.full.device is not None or n.parent < 0:
            continue
        parent = nodes[n.parent]
        if parent.full.host is None and parent.full.device is not None:
            yield Fault(f"{view.name(i)} is host-only below a device-only parent", (i, n.parent))
