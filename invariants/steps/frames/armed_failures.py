"""Announced allocation failures: armed by the environment, consumed by allocations."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import INSERTING, LOADING, writes_host
from radixproof.invariants.steps.frames.common import all_but
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op

_ALLOCATING = (*INSERTING, op.Decode, *LOADING)


@step_invariant(
    "S-frame-6",
    *all_but(*_ALLOCATING, op.FailAllocation),
    formula="armed failures as before (write-back: Evict allocates on the host)",
    without_it="An operation that needs no memory would swallow, or announce, a failure.",
    taught_by="M-31",
)
def armed_failures_wait_for_an_allocation(step: Step) -> Iterator[Fault]:
    """Operations that allocate nothing consume no announced failure."""
    if writes_host(step):
        return
    if dict(step.before.armed_failures) != dict(step.after.armed_failures):
        yield Fault("armed failures changed without an allocation")


@step_invariant(
    "S-frame-7",
    *_ALLOCATING,
    op.Evict,
    formula="armed_failures[pool] after <= before; fewer only of pools that it allocates from",
    without_it="A failure must be announced by the environment alone.",
    taught_by="M-31",
)
def allocating_only_consumes_armed_failures(step: Step) -> Iterator[Fault]:
    """Operations that allocate consume announced failures of their own pools and arm none."""
    of_device = not isinstance(step.operation, op.Finish | op.Evict)
    of_host = writes_host(step)
    before, after = step.before.armed_failures, step.after.armed_failures
    for pool in sorted({*before, *after}):
        was, now = before.get(pool, 0), after.get(pool, 0)
        mine = of_host if pool.startswith("host_") else of_device
        if now > was or (now < was and not mine):
            yield Fault(f"armed failures of {pool} went from {was} to {now}")
