"""What somebody holds does not move (domain.md 7.2)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.compare import drained_locks, given_up_locks, kept
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op

_ALL_BUT_RESET = tuple(cls for cls in op.EVERY_OPERATION.values() if cls is not op.Reset)


@step_invariant(
    "I-14",
    *_ALL_BUT_RESET,
    formula="n.c.lock > 0 before => n.c.device after = n.c.device before, slot by slot (lazy"
    " tracking: a chunk's request may give back its own lock of the state that it began with)",
    without_it="Readers hold slot numbers: the same data elsewhere is as bad as no data.",
    taught_by="SGLang 29352, M-5, M-6",
)
def locked_device_data_stays(step: Step) -> Iterator[Fault]:
    """Device data under a lock is neither dropped nor moved to other slots."""
    for b, old in enumerate(step.before.nodes):
        for component in step.before.config.components:
            p = old.placement(component)
            gone = drained_locks(step, b, component) + given_up_locks(step, b, component)
            if p is None or p.lock <= gone:
                continue
            if not kept(step, b, component, "device"):
                yield Fault(
                    f"{component} data of {step.before.name(b)} changed under a lock",
                    step.fragments[b],
                )


@step_invariant(
    "I-15",
    *_ALL_BUT_RESET,
    formula="n.c.hlock > 0 before => n.c.host after = n.c.host before, slot by slot",
    without_it="A storage write or a load reads these slots at this moment.",
    taught_by="SGLang 38138, 26728, M-35",
    holds_under=WITH_HOST,
)
def host_locked_data_stays(step: Step) -> Iterator[Fault]:
    """Host data under a host lock is neither dropped nor moved to other slots."""
    for b, old in enumerate(step.before.nodes):
        for component in step.before.config.components:
            p = old.placement(component)
            if p is not None and p.host_lock > 0 and not kept(step, b, component, "host"):
                yield Fault(
                    f"{component} host data of {step.before.name(b)} changed under a host lock",
                    step.fragments[b],
                )
