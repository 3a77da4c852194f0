"""What device eviction frees and spares (domain.md 6.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import (
    drained_locks,
    host_is_ample,
    is_ok,
    is_refused,
    receipts_stay,
    taken_out_of_turn,
    tier_of,
    unchanged,
    value,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.options import BACKS_UP_WINDOWS


@step_invariant(
    "I-43",
    op.Evict,
    formula="freed[c] >= min(asked[c], device tokens of c that eviction can reach); under"
    " write-back with a short host: freed[c] < asked[c] => of the unlocked nodes with c on device"
    " only unbacked D-leaves are left",
    without_it="Admission relies on evictable memory being obtainable.",
    taught_by="M-15, M-36 (U-5)",
)
def eviction_makes_progress(step: Step) -> Iterator[Fault]:
    """An eviction frees what it was asked for, or all that nobody holds."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Evict)
    if step.before.config.writes_back and not host_is_ample(step.before):
        yield from _left_over(step)
        return
    for component, can in reachable(step.before).items():
        asked = getattr(step.operation, component)
        freed = step.outcome.values.get(f"freed_{component}", 0)
        if freed < min(asked, can):
            yield Fault(f"freed {freed} {component} tokens of {asked} asked, {can} possible")


@step_invariant(
    "S-evict-1",
    op.Evict,
    formula="freed[c] = device tokens of c in the tree before - after = growth of the free list",
    without_it="The caller allocates what it was told is free.",
    taught_by="M-7, M-20",
)
def eviction_reports_what_it_freed(step: Step) -> Iterator[Fault]:
    """The numbers an eviction returns are what left the tree and what became free."""
    if not is_ok(step):
        return
    for component in step.before.config.components:
        freed = step.outcome.values.get(f"freed_{component}", 0)
        left = _device_tokens(step.before, component) - _device_tokens(step.after, component)
        grown = step.after.pools[component].free_slots - step.before.pools[component].free_slots
        if not freed == left == grown:
            yield Fault(f"{component}: says {freed}, {left} left the tree, {grown} became free")


@step_invariant(
    "S-evict-2",
    op.Evict,
    formula="asked FULL only => no D-leaf before that is kept ranks below one that is taken, by the"
    " strategy and then by last access (write-back: unless the host may have refused it)",
    without_it="The hit rate is what eviction order makes of it.",
    taught_by="X-16",
)
def eviction_takes_the_least_recent_leaves(step: Step) -> Iterator[Fault]:
    """Among the leaves there were, those evicted are the ones that the strategy ranks lowest.

    By default that is the least recently accessed.
    """
    assert isinstance(step.operation, op.Evict)
    if not is_ok(step) or step.operation.swa or step.operation.mamba:
        return
    leaves = set(step.before.device_leaves)
    if step.before.config.writes_back and not host_is_ample(step.before):
        leaves = {b for b in leaves if step.before.nodes[b].backuped}
    kept = False
    for b in by_rank(step.before, leaves):
        parts = step.fragments.get(b, ())
        gone = not parts or step.after.nodes[parts[-1]].evicted
        if gone and kept:
            yield Fault(f"{step.before.name(b)} was evicted before a leaf that ranks lower", parts)
        kept = kept or not gone


@step_invariant(
    "S-evict-4",
    op.Evict,
    formula="asked SWA only or MAMBA only => no unlocked node in that list that is kept stood"
    " behind one that is taken (write-back: unless the host may have refused it)",
    without_it="The window or state of the prefix used last would go first.",
    taught_by="M-44, SGLang 38482",
)
def eviction_takes_the_least_recent_of_a_list(step: Step) -> Iterator[Fault]:
    """Of one component's unlocked data, what is evicted is the least recently used."""
    assert isinstance(step.operation, op.Evict)
    o, before = step.operation, step.before
    asked = [c for c in before.config.components if getattr(o, c)]
    if not is_ok(step) or len(asked) != 1 or asked == [FULL]:
        return
    if before.config.writes_back and not host_is_ample(before):
        return
    yield from taken_out_of_turn(step, asked[0])


@step_invariant(
    "S-evict-5",
    op.Evict,
    op.LoadBack,
    op.Admit,
    op.Proceed,
    op.Prefill,
    op.Decode,
    op.EvictHost,
    formula="n in N after, its SWA gone from a tier in this step => its state gone from that tier"
    " (Prefill: where it is refused)",
    without_it="A state that no window leads up to can never be used; it only fills its pool.",
    taught_by="M-7",
)
def a_state_goes_with_its_window(step: Step) -> Iterator[Fault]:
    """Where a node loses its window data to eviction, it loses its state on that tier too."""
    if not (step.before.config.has_swa and step.before.config.has_mamba):
        return
    if isinstance(step.operation, op.Prefill) and not is_refused(step):
        return  # what it inserts may bring a state
    for b, old in enumerate(step.before.nodes):
        parts = step.fragments[b]
        for tier in ("device", "host") if parts else ():
            if tier_of(old.swa, tier) is None:
                continue
            if value(step.after, parts, SWA, tier) is None:
                left = tier_of(step.after.nodes[parts[-1]].mamba, tier)
                new = left != tier_of(old.mamba, tier)  # written alone, in the same step
                if left is not None and not (new and BACKS_UP_WINDOWS in step.after.options):
                    name = step.before.name(b)
                    yield Fault(f"{name} lost its window on {tier} and kept its state", parts)


@step_invariant(
    "S-evict-3",
    op.Evict,
    formula="receipts, requests, transfers, host data and contents as before (write-back: on"
    " device); n on device after => n.c.device stays unless c was asked for (MAMBA: or SWA);"
    " asked 0 => all as before",
    without_it="Memory pressure must not disturb those who run.",
    taught_by="M-3",
)
def eviction_spares_everything_else(step: Step) -> Iterator[Fault]:
    """Device eviction changes neither receipts nor requests nor copies nor any byte.

    A node that stays on the device loses what was asked for alone.
    """
    assert isinstance(step.operation, op.Evict)
    yield from receipts_stay(step)
    if [r.row for r in step.before.requests] != [r.row for r in step.after.requests]:
        yield Fault("a request's row changed")
    for name, pool in step.before.pools.items():
        if name.startswith("host_") and step.before.config.writes_back:
            continue
        if pool.contents != step.after.pools[name].contents:
            yield Fault(f"bytes of {name} changed")
        if name.startswith("host_") and pool.free_pages != step.after.pools[name].free_pages:
            yield Fault(f"the free list of {name} changed")
    if is_ok(step) and step.operation == op.Evict():
        yield from unchanged(step, "nodes", "pools", "full_to_swa")
    yield from _lost_unasked(step, step.operation)


def _lost_unasked(step: Step, o: op.Evict) -> Iterator[Fault]:
    """Data of a component that was not asked for goes with its node's FULL data only."""
    asked = {SWA: o.swa, MAMBA: o.mamba or o.swa}
    for c in step.before.config.auxiliary:
        for b, old in enumerate(step.before.nodes) if not asked[c] else ():
            parts = step.fragments[b]
            stays = bool(parts) and not step.after.nodes[parts[-1]].evicted
            held = tier_of(old.placement(c), "device")
            if stays and held is not None and value(step.after, parts, c, "device") is None:
                yield Fault(f"{step.before.name(b)} lost its {c} data, which nobody asked for")


@step_invariant(
    "S-evict-6",
    op.Evict,
    op.EvictHost,
    formula="only c asked => freed[c] < asked[c] + the most tokens of c on one node before",
    without_it="Every shortage would empty the cache.",
    taught_by="M-66",
)
def an_eviction_stops_when_it_has_enough(step: Step) -> Iterator[Fault]:
    """An eviction of one component takes no more than the node that made it enough."""
    o = step.operation
    assert isinstance(o, op.Evict | op.EvictHost)
    if isinstance(o, op.Evict):
        tier = "device"
        asked = {c: n for c in step.before.config.components if (n := getattr(o, c))}
        freed = {c: step.outcome.values.get(f"freed_{c}", 0) for c in asked}
    else:
        tier, asked = "host", {o.component: o.count}
        freed = {o.component: step.outcome.values.get("freed", 0)}
    if not is_ok(step) or len(asked) != 1:
        return
    ((c, count),) = asked.items()
    held = [tier_of(n.placement(c), tier) or () for n in step.before.nodes]
    if freed[c] >= count + max(map(len, held), default=0) > count:
        yield Fault(f"freed {freed[c]} {c} tokens where {count} were asked for")


def by_rank(view: View, leaves: Iterable[int]) -> list[int]:
    """Leaves in the order in which the strategy gives them up (domain.md 3)."""
    recency = {i: -place for place, i in enumerate(view.access_order)}

    def rank(i: int) -> tuple[int, int]:
        n, age = view.nodes[i], view.creation_rank[i]
        ranks = {
            "lru": recency[i],
            "mru": -recency[i],
            "lfu": n.hit,
            "slru": int(n.hit >= 2),
            "fifo": age,
            "filo": -age,
            "priority": n.priority,
        }
        return ranks[view.config.eviction_policy], recency[i]

    return sorted((i for i in leaves if i >= 0), key=rank)


def _left_over(step: Step) -> Iterator[Fault]:
    """What could not be backed up stays; nothing else does, for it needs no room to go.

    Where windows of inner nodes are written back alone, those need room, too.
    """
    assert isinstance(step.operation, op.Evict)
    after = step.after
    short = [
        c
        for c in after.config.components
        if step.outcome.values.get(f"freed_{c}", 0) < getattr(step.operation, c)
    ]
    for i, n in enumerate(after.nodes):
        stuck = i in after.device_leaves and not n.backuped
        for c in () if stuck else short:
            p = n.placement(c)
            if p is None or p.device is None or p.lock or _was_being_copied(step, i, c):
                continue
            inner = c != FULL and BACKS_UP_WINDOWS not in after.options
            if inner or i in after.device_leaves:
                yield Fault(f"{c} data of {after.name(i)} was left on device", (i,))


def _was_being_copied(step: Step, i: int, component: str) -> bool:
    """A backup locked the node until this eviction had waited for it."""
    b = step.origin.get(i)
    return b is not None and drained_locks(step, b, component) > 0


def reachable(view: View) -> dict[str, int]:
    """FULL tokens of nodes that leaf eviction can get to, and of the others what nobody locks."""
    can: set[int] = set()
    found = dict.fromkeys(view.config.components, 0)
    for i in range(len(view.nodes) - 1, -1, -1):  # children stand after their parents
        n = view.nodes[i]
        for c in view.config.auxiliary:
            p = n.placement(c)
            if p is not None and p.device is not None and not p.lock:
                found[c] += len(p.device)
        if n.full.device is None or any(p.lock for p in n.placements):
            continue
        on_device = [c for c in view.children.get(i, ()) if not view.nodes[c].evicted]
        if all(c in can for c in on_device):
            can.add(i)
            found[FULL] += len(n.full.device)
    return found


def _device_tokens(view: View, component: str) -> int:
    held = (n.placement(component) for n in view.nodes)
    return sum(len(p.device or ()) for p in held if p is not None)
