"""Queues of copies: they grow at their end, and wait to be observed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.compare import INSERTING, LOADING, is_ok, may_drain_writes
from radixproof.invariants.steps.frames.common import all_but, id_of, waits_for_its_state
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.snapshot import Transfer


@step_invariant(
    "S-frame-5",
    *all_but(op.Execute, op.Observe, op.StartLoading),
    formula="each queue after = queue before ++ new; new writes only in inserts, new loads only in"
    " load-backs; same slots, stages and submissions (Prefill may run loads; Abort and Retract"
    " where one would write into its state slot)",
    without_it="A copy that leaves its queue unseen never releases what it pins.",
    taught_by="M-3, M-17, M-40",
    holds_under=WITH_HOST,
)
def queues_only_grow_at_their_end(step: Step) -> Iterator[Fault]:
    """Copies wait in their queue, unchanged, until they are observed; new ones join last."""
    for stream, before, after, adding in (
        (op.WRITE, step.before.writes, step.after.writes, INSERTING),
        (op.LOAD, step.before.loads, step.after.loads, LOADING),
    ):
        waiting = isinstance(step.operation, op.Prefill) or waits_for_its_state(step)
        submits = is_ok(step) or step.before.config.max_new_tokens > 0  # before slots are asked for
        runs = stream == op.LOAD and waiting and submits
        old = [_transfer(step.before, t, staged=not runs) for t in before]
        new = [_transfer(step.after, t, staged=not runs) for t in after]
        if stream == op.WRITE and may_drain_writes(step) and not {*old} & {*new}:
            continue
        if new[: len(old)] != old:
            yield Fault(f"a {stream} that waited was changed, lost or overtaken")
        if len(new) > len(old) and not (isinstance(step.operation, adding) and is_ok(step)):
            yield Fault(f"{len(new) - len(old)} more {stream}s wait")


def _transfer(view: View, t: Transfer, *, staged: bool) -> tuple[Any, ...]:
    """A transfer without the nodes that it covers, which a split makes more."""
    return (t.id, id_of(view, t.node), t.moves, *((t.stage, t.batch) if staged else ()))
