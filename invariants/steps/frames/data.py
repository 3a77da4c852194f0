"""Data: where bytes change, where values appear, and that device data stays."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import (
    EVICTING_DEVICE,
    INSERTING,
    LANDING,
    is_ok,
    tier_of,
    value,
    writes_host,
)
from radixproof.invariants.steps.frames.common import all_but, waits_for_its_state
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.options import COPIES_STATES_AT_ONCE
from radixproof.model.snapshot import Node, Transfer
from radixproof.model.storage_operations import StorageWork

_WRITING = (op.Insert, op.Prefill, op.Decode)


@step_invariant(
    "S-frame-8",
    *all_but(op.Execute),
    formula="contents of device pools change only in Insert, Prefill, Decode that are ok, and where"
    " a turn of a session ends; of host pools only in evictions under write-back, and where a"
    " worker reads from a store",
    without_it="Slots are private until they are handed out; a stray write is a wrong answer.",
    taught_by="M-3, M-6",
)
def only_writers_write(step: Step) -> Iterator[Fault]:
    """Bytes change where a forward pass computes or a copy runs, and nowhere else."""
    computes = isinstance(step.operation, _WRITING) and is_ok(step)
    computes = computes or waits_for_its_state(step) or _ends_a_turn(step)
    for name, pool in step.before.pools.items():
        on_host = name.startswith("host_")
        if (computes and not on_host) or (on_host and _waits_for_copies(step)):
            continue
        if on_host and isinstance(step.operation, StorageWork):
            continue
        if name == MAMBA and _copies_a_state(step):
            continue
        if pool.contents != step.after.pools[name].contents:
            yield Fault(f"bytes of {name} changed")


@step_invariant(
    "S-frame-11",
    *all_but(),
    formula="n.c.host after and not before => its slots are those of a write queued in this step,"
    " or of a prefetch that ended in it; n.c.device after and not before, in a load-back => those"
    " of a load queued in this step; in other operations that do not insert => none (write-back:"
    " S-write-back-1)",
    without_it="Data that nobody computed or copied is whatever lay in the slot.",
    taught_by="M-1e, M-3",
)
def data_appears_only_where_it_is_copied_or_computed(step: Step) -> Iterator[Fault]:
    """New host data is being written by a backup, or was prefetched; new device data is loaded or
    inserted.
    """
    tiers = [] if _waits_for_copies(step) else ["host"]
    tiers += [] if isinstance(step.operation, INSERTING) else ["device"]
    arriving = {
        "host": _moved(step.before.writes, step.after.writes, "host"),
        "device": _moved(step.before.loads, step.after.loads, "device"),
    }
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b] if b is not None else None
        for tier in tiers:
            for c in step.after.config.components:
                slots = set(_appeared(n, old, c, tier))
                if tier == "host":
                    slots -= _prefetched(step, c)
                if not arriving[tier].get(c, set()) >= slots:
                    told = f"{c} data of {step.after.name(i)} came to the {tier} from nowhere"
                    yield Fault(told, (i,))


def _prefetched(step: Step, component: str) -> set[int]:
    """Host slots that prefetches brought data to which a landing ended."""
    if step.before.storage is None or not isinstance(step.operation, LANDING):
        return set()
    left = {p.request for p in step.after.storage.prefetches} if step.after.storage else set()
    ended = (p for p in step.before.storage.prefetches if p.request not in left)
    return {x for p in ended for x in p.slots.get(component, ())}


@step_invariant(
    "I-39",
    *all_but(*EVICTING_DEVICE),
    formula="n.c.device before, no device eviction => n in N, n.c.device after (any slots)",
    without_it="Device data is given up for memory, never in passing.",
    taught_by="M-42, M-15",
)
def only_device_eviction_loses_device_data(step: Step) -> Iterator[Fault]:
    """What is on the device stays on the device until a device eviction takes it."""
    for b, old in enumerate(step.before.nodes):
        for c in step.before.config.components:
            held = tier_of(old.placement(c), "device")
            parts = step.fragments[b]
            if held is not None and value(step.after, parts, c, "device") is None:
                yield Fault(f"{step.before.name(b)} lost its {c} data on device", parts)


def _copies_a_state(step: Step) -> bool:
    """An older match copies the state at once, and a load-back zeroes the slot it takes for it."""
    takes = isinstance(step.operation, op.Admit | op.Prepare | op.Proceed | op.LoadBack)
    return takes and COPIES_STATES_AT_ONCE in step.after.options


def _ends_a_turn(step: Step) -> bool:
    """The forward pass that is under way then computes the token sampled last."""
    return isinstance(step.operation, op.Finish) and step.is_of_turn


def _waits_for_copies(step: Step) -> bool:
    return step.before.config.writes_back and writes_host(step)


def _moved(
    before: tuple[Transfer, ...], after: tuple[Transfer, ...], tier: str
) -> dict[str, set[int]]:
    """Component -> slots of a tier that transfers new in this step cover."""
    known = {t.id for t in before}
    slots: dict[str, set[int]] = {}
    for t in after:
        for m in () if t.id in known else t.moves:
            slots.setdefault(m.component, set()).update(m.host if tier == "host" else m.device)
    return slots


def _appeared(n: Node, old: Node | None, component: str, tier: str) -> tuple[int, ...]:
    had = tier_of(old.placement(component), tier) if old is not None else None
    has = tier_of(n.placement(component), tier)
    return has if has is not None and had is None else ()
