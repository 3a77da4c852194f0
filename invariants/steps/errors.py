"""Illegal use is refused and changes nothing (domain.md 0.4)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import unchanged
from radixproof.invariants.violation import Fault
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import EVERY_OPERATION
from radixproof.model.outcome import Status


@step_invariant(
    "S-error-1",
    *EVERY_OPERATION.values(),
    formula="outcome in {E_ARG, E_PROTO, E_BUSY} => after = before",
    without_it="A caller that recovers from an error would go on with a half-done operation.",
    taught_by="M-9, M-10, M-14",
)
def errors_change_nothing(step: Step) -> Iterator[Fault]:
    """An operation that is refused as illegal leaves the state as it was."""
    if step.outcome.status is Status.ERROR and step.outcome.error is not ErrorKind.INTERNAL:
        yield from unchanged(
            step,
            "nodes",
            "device_leaves",
            "host_leaves",
            "access_order",
            "lru",
            "host_lru",
            "evictable",
            "protected",
            "pools",
            "full_to_swa",
            "writes",
            "loads",
            "receipts",
            "requests",
            "candidates",
            "armed_failures",
            "creation_rank",
        )
