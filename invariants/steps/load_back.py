"""What a load-back promises and what it may cost (domain.md 6.8.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from radixproof.invariants.catalogue import WITH_HOST, WITH_SWA, Step, step_invariant
from radixproof.invariants.steps.compare import (
    LOADING,
    host_is_ample,
    is_ok,
    is_refused,
    key_of,
    path_to,
    receipts_stay,
    taken_out_of_turn,
    tier_of,
    value,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import BACKS_UP_WINDOWS
from radixproof.model.snapshot import Placement
from radixproof.model.storage import BACKUP


@step_invariant(
    "S-load-back-1",
    op.LoadBack,
    formula="ok => path(target) on device; in its window SWA on device; one load more, at the end"
    " of the"
    " queue, with a device and a host receipt",
    without_it="A request admitted on it would find a hole, or its source reclaimed.",
    taught_by="M-19, M-29",
    holds_under=WITH_HOST,
)
def a_load_back_makes_its_target_usable(step: Step) -> Iterator[Fault]:
    """An accepted load-back makes the whole prefix device-resident and pins both ends."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.LoadBack)
    o, after = step.operation, step.after
    path = path_to(after, o.namespace, key_of(step.before, o.tokens))
    for i in path:
        n = after.nodes[i]
        if n.evicted:
            yield Fault(f"{after.name(i)} is not on device after the load-back", (i,))
        in_window = n.end > len(key_of(step.before, o.tokens)) - after.config.sliding_window
        if n.swa is not None and in_window and n.swa.device is None:
            yield Fault(f"{after.name(i)} has no SWA data on device after the load-back", (i,))
    state = after.nodes[path[-1]].mamba if path else None
    if state is not None and state.device is None:
        yield Fault(
            f"{after.name(path[-1])} has no state on device after the load-back", (path[-1],)
        )
    queued = len(after.loads) - len(step.before.loads)
    last = after.loads[-1] if after.loads else None
    if queued != 1 or last is None or last.stage != "queued" or not path or last.node != path[-1]:
        yield Fault("the load is not the last of the queue", tuple(path[-1:]))
    written = (op.WRITE, BACKUP)  # an eviction may wait for writes, and hand them to the store
    taken = sum(1 for r in after.receipts if r.owner not in written)
    taken -= sum(1 for r in step.before.receipts if r.owner not in written)
    if taken != len(after.load_locks):
        yield Fault(f"a load takes a receipt per tier ({', '.join(after.load_locks)}), not {taken}")


@step_invariant(
    "S-load-back-2",
    op.LoadBack,
    formula="ok => loaded[c] = tokens of c that the queued load moves; FULL: those evicted before",
    without_it="The scheduler charges the request for what was loaded.",
    taught_by="M-29",
    holds_under=WITH_HOST,
)
def a_load_back_reports_what_it_moves(step: Step) -> Iterator[Fault]:
    """The numbers a load-back returns are the slots its copy fills."""
    if not is_ok(step) or not step.after.loads:
        return
    assert isinstance(step.operation, op.LoadBack)
    o, before = step.operation, step.before
    moved = {m.component: len(m.device) for m in step.after.loads[-1].moves}
    for component in ("full", "swa", *(["mamba"] if before.config.has_mamba else [])):
        said = step.outcome.values.get(f"loaded_{component}")
        if said != moved.get(component, 0):
            yield Fault(f"says {said} {component} tokens, moves {moved.get(component, 0)}")
    evicted = [before.nodes[i] for i in path_to(before, o.namespace, key_of(step.before, o.tokens))]
    need = sum(len(n.key) for n in evicted if n.evicted)
    if moved.get("full", 0) != need:
        yield Fault(f"moves {moved.get('full', 0)} FULL tokens, {need} were missing")


@step_invariant(
    "S-load-back-3",
    op.LoadBack,
    formula="ok, quota given => FULL tokens loaded + tokens newly protected <= mem_quota",
    without_it="The caller's budget would be spent twice.",
    taught_by="SGLang 38481, M-38",
    holds_under=WITH_HOST,
)
def a_load_back_respects_its_quota(step: Step) -> Iterator[Fault]:
    """What a load-back takes, with what its lock makes unevictable, fits the quota."""
    assert isinstance(step.operation, op.LoadBack)
    o, before = step.operation, step.before
    if not is_ok(step) or o.mem_quota is None:
        return
    path = [before.nodes[i] for i in path_to(before, o.namespace, key_of(step.before, o.tokens))]
    delta = sum(len(n.key) for n in path if not n.evicted and not n.full.lock)
    need = step.outcome.values.get("loaded_full", 0)
    if need + delta > o.mem_quota:
        yield Fault(f"needs {need} and protects {delta} tokens, the quota is {o.mem_quota}")


@step_invariant(
    "S-load-back-4",
    op.LoadBack,
    formula="refused => receipts, queues, FULL data of path(target), SWA data of its window stay",
    without_it="A refused load must not leave locks or half a path behind.",
    taught_by="U-8 of domain.md 12",
    holds_under=WITH_HOST,
)
def a_refused_load_back_leaves_nothing_behind(step: Step) -> Iterator[Fault]:
    """A refused load-back takes no lock, queues no copy and keeps what its lock covered."""
    if not is_refused(step):
        return
    assert isinstance(step.operation, op.LoadBack)
    yield from receipts_stay(step)
    if [t.id for t in step.before.loads] != [t.id for t in step.after.loads]:
        yield Fault("a copy was queued")
    o, before, after = step.operation, step.before, step.after
    for b in path_to(before, o.namespace, key_of(step.before, o.tokens)):
        parts = step.fragments[b]
        old = before.nodes[b]
        new = after.nodes[parts[-1]] if parts else None
        in_window = old.end > len(key_of(step.before, o.tokens)) - before.config.sliding_window
        covered = [(old.full, new.full), *[(old.swa, new.swa)] * in_window] if new else []
        if new is None or not all(_stayed(step, *pair) for pair in covered):
            yield Fault(f"{before.name(b)} changed", parts)
        elif old.end == len(key_of(step.before, o.tokens)) and new.mamba != old.mamba:
            yield Fault(f"the state of {before.name(b)} changed", parts)


def _stayed(step: Step, old: Placement | None, new: Placement | None) -> bool:
    """Whether data is where it was; a host copy of what is on device may go where that is legal."""
    if old is None or new is None or not _may_lose_copies(step.before):
        return old == new
    gone = old.device is not None and new.host is None
    return new == (replace(old, host=None) if gone else old)


def _may_lose_copies(view: View) -> bool:
    """Write-back that reclaims host copies of device data first (10.2, 8)."""
    return BACKS_UP_WINDOWS in view.options and view.config.writes_back


@step_invariant(
    "S-load-back-5",
    *LOADING,
    formula="ok, a load queued, no armed failure, free[c] >= slots of c that it takes => n.c.device"
    " of all n stay",
    without_it="Warm prefixes would be given up for room that is there.",
    taught_by="SGLang 26302, M-59",
    holds_under=WITH_HOST,
)
def a_load_back_with_room_evicts_nothing(step: Step) -> Iterator[Fault]:
    """A load-back that fits the free slots takes no data off the device."""
    known = {t.id for t in step.before.loads}
    new = [t for t in step.after.loads if t.id not in known]
    if not is_ok(step) or not new:
        return
    need = Counter({m.component: len(m.device) for t in new for m in t.moves})
    need[MAMBA] += not isinstance(step.operation, op.LoadBack)  # the request's own state
    components = step.before.config.components
    if _is_armed(step) or _short(step, need):
        return
    for b, old in enumerate(step.before.nodes):
        for c in components:
            held = tier_of(old.placement(c), "device")
            if held is not None and value(step.after, step.fragments[b], c, "device") is None:
                yield Fault(f"{step.before.name(b)} lost its {c} data for a load that had room")


@step_invariant(
    "S-load-back-6",
    op.LoadBack,
    formula="ok, a load queued, no armed failure, SWA alone is short of free slots => no unlocked"
    " node off the target's path that keeps its SWA stood behind one that is taken (write-back:"
    " unless the host may have refused it)",
    without_it="Leaves used just now would go, FULL and all, where one old window was enough.",
    taught_by="SGLang 26302, M-59",
    holds_under=WITH_SWA,
)
def a_load_back_takes_the_least_recent_windows(step: Step) -> Iterator[Fault]:
    """A load-back that is short of SWA slots only takes the windows used least recently."""
    assert isinstance(step.operation, op.LoadBack)
    o, before = step.operation, step.before
    if not is_ok(step) or not before.config.has_swa or not step.after.loads:
        return
    if before.config.writes_back and not host_is_ample(before):
        return
    need = Counter({m.component: len(m.device) for m in step.after.loads[-1].moves})
    if _is_armed(step) or _short(step, need) != [SWA]:
        return
    path = path_to(before, o.namespace, key_of(before, o.tokens))
    yield from taken_out_of_turn(step, SWA, spared=path)


def _is_armed(step: Step) -> bool:
    components = step.before.config.components
    return any(step.before.armed_failures.get(c) for c in components)


def _short(step: Step, need: Mapping[str, int]) -> list[str]:
    """Components that have fewer free slots than a load takes."""
    view = step.before
    return [c for c in view.config.components if view.pools[c].free_slots < need[c]]
