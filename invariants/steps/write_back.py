"""What an eviction under write-back takes to the host (domain.md 6.4, 6.6, 6.11)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WRITE_BACK, Step, step_invariant
from radixproof.invariants.steps.compare import host_is_ample, is_ok, tier_of
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA

_ONLY_EVICTING = (op.Evict, op.LoadBack, op.Admit, op.Proceed, op.Decode)
"""Operations that evict and do not insert: what they evict is not revived by themselves."""


@step_invariant(
    "S-write-back-1",
    *_ONLY_EVICTING,
    op.Prefill,
    formula="n.c.host after and not before => n was on device before and is evicted after (Prefill:"
    " where it is refused)",
    without_it="Evicting one leaf would copy its whole path, or fail although the leaf fits.",
    taught_by="M-1e",
    holds_under=WRITE_BACK,
)
def only_what_is_evicted_is_written_back(step: Step) -> Iterator[Fault]:
    """Under write-back only nodes that leave the device get a host copy."""
    inserts = isinstance(step.operation, op.Prefill) and is_ok(step)
    if not step.before.config.writes_back or inserts:
        return
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b] if b is not None else None
        for c in step.after.config.components:
            had = tier_of(old.placement(c), "host") if old is not None else None
            if tier_of(n.placement(c), "host") is None or had is not None:
                continue
            if old is None or old.evicted or not n.evicted:
                yield Fault(f"{step.after.name(i)} got {c} host data and is not evicted", (i,))


@step_invariant(
    "S-write-back-2",
    *_ONLY_EVICTING,
    formula="the host has room for all that is not on host, no failure armed there => all n before:"
    " n in N after; n.c.device before, n evicted after => n.c.host after",
    without_it="Write-back exists so that eviction loses nothing that the host could hold.",
    taught_by="M-24, SGLang 24585",
    holds_under=WRITE_BACK,
)
def write_back_loses_nothing_with_room(step: Step) -> Iterator[Fault]:
    """With room on the host, what an eviction takes from the device is on the host."""
    if not step.before.config.writes_back or not host_is_ample(step.before):
        return
    for b, old in enumerate(step.before.nodes):
        parts = step.fragments[b]
        if not parts:
            yield Fault(f"{step.before.name(b)} is gone though the host had room for it")
            continue
        if old.evicted or old.backuped:
            continue
        for i in parts:
            new = step.after.nodes[i]
            for c in step.before.config.components if new.evicted else ():
                held = tier_of(old.placement(c), "device") is not None
                held = held and (c != MAMBA or i == parts[-1])
                if held and tier_of(new.placement(c), "host") is None:
                    yield Fault(f"{step.after.name(i)} lost its {c} data though the host had room")
