"""What host eviction frees and spares (domain.md 6.5)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, receipts_stay, tier_of, unchanged, value
from radixproof.invariants.steps.evict import by_rank
from radixproof.invariants.steps.loss import reclaimable_host
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA


@step_invariant(
    "S-evict-host-1",
    op.EvictHost,
    formula="device values, device pools, the map, receipts, requests as before",
    without_it="Host pressure must not cost what is in use on the device.",
    taught_by="M-23",
    holds_under=WITH_HOST,
)
def host_eviction_touches_no_device_data(step: Step) -> Iterator[Fault]:
    """Host eviction leaves the device as it is."""
    yield from unchanged(step, "full_to_swa", "evictable", "protected", "armed_failures")
    yield from receipts_stay(step)
    for component in step.before.config.components:
        if step.before.pools[component] != step.after.pools[component]:
            yield Fault(f"the device pool {component} changed")
        for b, old in enumerate(step.before.nodes):
            held = tier_of(old.placement(component), "device")
            parts = step.fragments[b]
            if held is not None and value(step.after, parts, component, "device") != held:
                yield Fault(f"{step.before.name(b)} lost {component} data on device", parts)


@step_invariant(
    "S-evict-host-2",
    op.EvictHost,
    formula="n gone => n evicted, unlocked on both tiers, all its children gone; n.FULL.host gone"
    " => n"
    " gone; n.c.host gone => c asked for and not on device (MAMBA: or SWA gone with it), not"
    " host-locked",
    without_it="An inner or device-resident node without its host copy breaks the prefix below it.",
    taught_by="M-23, M-30",
    holds_under=WITH_HOST,
)
def host_eviction_takes_only_what_is_host_only(step: Step) -> Iterator[Fault]:
    """Host eviction deletes host leaves, and what was asked for that is on host only; no more."""
    assert isinstance(step.operation, op.EvictHost)
    gone = {b for b, parts in step.fragments.items() if not parts}
    for b, old in enumerate(step.before.nodes):
        name = step.before.name(b)
        if b in gone:
            if not old.evicted or any(p.lock or p.host_lock for p in old.placements):
                yield Fault(f"{name} was deleted though it is in use")
            if any(c not in gone for c in step.before.children.get(b, ())):
                yield Fault(f"{name} was deleted from above its children")
            continue
        parts = step.fragments[b]
        if old.backuped and value(step.after, parts, "full", "host") != old.full.host:
            yield Fault(f"{name} lost its FULL host data", parts)
        lost = [
            (c, p)
            for c in step.before.config.auxiliary
            if (p := old.placement(c)) is not None
            and p.host is not None
            and value(step.after, parts, c, "host") != p.host
        ]
        with_window = any(c == SWA for c, _ in lost)
        for c, p in lost:
            follows = c == MAMBA and with_window
            unasked = c != step.operation.component and not follows
            on_device = p.device is not None and not follows
            if on_device or unasked or p.host_lock:
                yield Fault(f"{name} lost {c} host data that was not reclaimable", parts)


@step_invariant(
    "S-evict-host-4",
    op.EvictHost,
    formula="asked FULL => no H-leaf before that is kept ranks below one that is taken, by the"
    " strategy and then by last access",
    without_it="The strategy that was configured would hold on one tier only.",
    taught_by="M-56, X-16",
    holds_under=WITH_HOST,
)
def host_eviction_follows_the_strategy(step: Step) -> Iterator[Fault]:
    """Of the host leaves there were, those evicted are the ones that the strategy ranks lowest."""
    assert isinstance(step.operation, op.EvictHost)
    if not is_ok(step) or step.operation.component != FULL:
        return
    kept = False
    for b in by_rank(step.before, step.before.host_leaves):
        gone = not step.fragments.get(b, ())
        if gone and kept:
            yield Fault(f"{step.before.name(b)} was evicted before a leaf that ranks lower")
        kept = kept or not gone


@step_invariant(
    "S-evict-host-3",
    op.EvictHost,
    formula="freed = growth of the pool's free list >= min(asked, what is reclaimable)",
    without_it="A backup that could have had room is refused.",
    taught_by="M-30",
    holds_under=WITH_HOST,
)
def host_eviction_frees_and_reports(step: Step) -> Iterator[Fault]:
    """Host eviction frees what was asked, or all that is reclaimable, and says how much."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.EvictHost)
    o, before = step.operation, step.before
    name = f"host_{o.component}"
    freed = step.outcome.values.get("freed", 0)
    grown = step.after.pools[name].free_slots - before.pools[name].free_slots
    if freed != grown:
        yield Fault(f"says {freed}, {grown} slots became free")
    possible = reclaimable_host(before, o.component)
    if freed < min(o.count, possible):
        yield Fault(f"freed {freed} of {o.count} asked, {possible} possible")
