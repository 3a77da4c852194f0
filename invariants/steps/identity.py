"""Nodes outlive splits, and go only when they are evicted (domain.md 7.5)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import values_stay
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.options import HIDES_LOCKS
from radixproof.model.snapshot import Placement

_ALL_BUT_RESET = tuple(cls for cls in op.EVERY_OPERATION.values() if cls is not op.Reset)
_NEVER_EVICTING = (
    op.Match,
    op.Lock,
    op.Unlock,
    op.HostLock,
    op.HostUnlock,
    op.StartLoading,
    op.Execute,
    op.Observe,
    op.SlideWindow,
    op.ReleaseWindow,
    op.Prepare,
    op.Abort,
    op.Retract,
    op.FailAllocation,
    op.OpenSession,
    op.CloseSession,
)


@step_invariant(
    "I-29",
    *_ALL_BUT_RESET,
    formula="all n before and after: prefix(n) is the same, and start(n) only grows",
    without_it="Requests, receipts and acks hold nodes across splits and would denote other"
    " prefixes.",
    taught_by="M-22",
)
def nodes_keep_the_prefix_they_end(step: Step) -> Iterator[Fault]:
    """A node that survives a step still ends the same prefix."""
    for b, parts in step.fragments.items():
        old = step.before.nodes[b]
        if not parts:
            continue
        new = step.after.nodes[parts[-1]]
        if (new.namespace, new.tokens) != (old.namespace, old.tokens):
            yield Fault(f"{step.before.name(b)} became {step.after.name(parts[-1])}", parts)
        elif step.after.nodes[parts[0]].start != old.start:
            yield Fault(f"{step.before.name(b)} now starts elsewhere", parts)


@step_invariant(
    "I-29",
    *_NEVER_EVICTING,
    formula="all n before: n in N after",
    without_it="Data would be lost by an operation that only looks, locks or copies.",
    taught_by="M-42",
)
def only_eviction_removes_nodes(step: Step) -> Iterator[Fault]:
    """Operations that free no tree memory remove no node."""
    for b, parts in step.fragments.items():
        if not parts:
            yield Fault(f"{step.before.name(b)} is gone")


@step_invariant(
    "I-27",
    op.Match,
    formula="split(n, k) => upper.x ++ lower.x = n.x for every value x, present on both or on"
    " neither",
    without_it="A split would change what a prefix maps to.",
    taught_by="M-8",
)
def a_split_moves_no_data(step: Step) -> Iterator[Fault]:
    """The parts of a node that a match split hold together exactly what the node held."""
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")


@step_invariant(
    "I-28",
    op.Match,
    formula="split(n) => lock counts and pending marks of both parts = those of n",
    without_it="Every holder of the old node will release both parts.",
    taught_by="M-2, M-8, M-35",
)
def both_parts_of_a_split_are_held_alike(step: Step) -> Iterator[Fault]:
    """Both parts of a split have the locks, the hits and the pending mark of the node.

    Of a state only the lower part has locks, and the state.
    """
    for b, parts in step.fragments.items():
        old = step.before.nodes[b]
        for i in parts:
            new = step.after.nodes[i]
            for c in step.before.config.components:
                p, q = old.placement(c), new.placement(c)
                if c == MAMBA and i != parts[-1]:
                    p = Placement()
                if p and q and (p.lock != q.lock or _host_locks_differ(step, p, q)):
                    yield Fault(f"{step.after.name(i)}: {c} locks changed in a split", (i,))
            if (new.pending, new.hit, new.priority) != (old.pending, old.hit, old.priority):
                yield Fault(f"{step.after.name(i)}: mark, hits or priority changed", (i,))


def _host_locks_differ(step: Step, p: Placement, q: Placement) -> bool:
    """Where host locks are hidden, only whose data is held is known, not how far locks reach."""
    return HIDES_LOCKS not in step.after.options and p.host_lock != q.host_lock
