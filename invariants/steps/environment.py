"""Flushing, and failures that the environment announces (domain.md 6.10)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, unchanged
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op


@step_invariant(
    "S-reset-1",
    op.Reset,
    formula="ok => N = {}, every pool all free, nothing queued, locked, mapped or running",
    without_it="Weights or adapters may have changed: one surviving prefix is a wrong answer.",
    taught_by="M-14",
)
def a_reset_leaves_nothing(step: Step) -> Iterator[Fault]:
    """After a reset the cache is as empty as a new one."""
    if not is_ok(step):
        return
    after = step.after
    leftovers = {
        "nodes": after.nodes,
        "writes": after.writes,
        "loads": after.loads,
        "receipts": after.receipts,
        "requests": after.requests,
        "armed failures": after.armed_failures,
        "mapped slots": [x for x in after.full_to_swa if x],
    }
    for name, left in leftovers.items():
        if left:
            yield Fault(f"{name} are left after a reset")
    for name, pool in after.pools.items():
        if pool.free_slots != pool.slots:
            yield Fault(f"{name} has {pool.free_slots} of {pool.slots} slots free after a reset")


@step_invariant(
    "S-reset-2",
    op.Reset,
    formula="ok => no request, receipt or transfer was there before",
    without_it="A copy in flight would write into the next tenant's slots.",
    taught_by="M-14",
)
def a_reset_waits_for_everybody(step: Step) -> Iterator[Fault]:
    """A reset is refused while anything is in flight."""
    before = step.before
    if is_ok(step) and (before.requests or before.receipts or before.writes or before.loads):
        yield Fault("the reset went ahead of requests, locks or copies")


@step_invariant(
    "S-fail-allocation-1",
    op.FailAllocation,
    formula="ok => armed_failures[pool] grew by 1; all else as before",
    without_it="The announcement of a failure must not be one.",
    taught_by="M-31",
)
def announcing_a_failure_changes_nothing_else(step: Step) -> Iterator[Fault]:
    """Arming an allocation failure counts it and does nothing else."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.FailAllocation)
    pool = step.operation.pool
    armed = dict(step.before.armed_failures)
    armed[pool] = armed.get(pool, 0) + 1
    if dict(step.after.armed_failures) != armed:
        yield Fault(f"armed failures are {dict(step.after.armed_failures)}, not {armed}")
    yield from unchanged(step, "nodes", "pools", "receipts", "requests", "writes", "loads")
