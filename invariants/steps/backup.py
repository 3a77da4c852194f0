"""What a backup copies (domain.md 6.6)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from itertools import takewhile

from radixproof.invariants.catalogue import (
    WITH_MAMBA,
    WITH_SWA,
    WRITE_THROUGH,
    Step,
    step_invariant,
)
from radixproof.invariants.steps.compare import aligned, had_to_evict, is_ok, path_to, tier_of
from radixproof.invariants.steps.loss import reclaimable_host
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import COPIES_LATER_STATES, COPIES_LATER_WINDOWS


@step_invariant(
    "S-backup-1",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="write queued in this step, n its lock node, n.c.device after (and before, if n is not"
    " new; MAMBA: unless this step had to evict first) => the write moves c",
    without_it="The prefix comes back from the host without its window or its state: of no use.",
    taught_by="M-48",
    holds_under=WRITE_THROUGH,
)
def a_backup_takes_all_that_is_on_device(step: Step) -> Iterator[Fault]:
    """A new backup copies every component that its node had on the device when it was queued."""
    known = {t.id for t in step.before.writes}
    for t in step.after.writes:
        if t.id in known or t.node < 0:
            continue
        moved = {m.component for m in t.moves}
        node, b = step.after.nodes[t.node], step.origin.get(t.node)
        old = step.before.nodes[b] if b is not None else node
        for c in step.after.config.components:
            here = c != MAMBA or (old.end == node.end and not had_to_evict(step))
            had = here and tier_of(old.placement(c), "device") is not None
            if had and tier_of(node.placement(c), "device") is not None and c not in moved:
                yield Fault(f"the backup of {step.after.name(t.node)} leaves out {c}", (t.node,))


@step_invariant(
    "S-backup-2",
    op.Insert,
    formula="option copies-later-windows: ok, the key's node was there, backed up, in no write =>"
    " host room is short, or every SWA on device in its window, up to a write or a gap, is on the"
    " host as well",
    without_it="SWA that came back after an eviction is lost with the device; the prefix then ends"
    " where its window does.",
    taught_by="SGLang 26556, a mutant of 0.5.23",
    holds_under=WITH_SWA,
)
def a_backed_up_prefix_keeps_its_window_on_the_host(step: Step) -> Iterator[Fault]:
    """An insert onto a backed-up node copies what its window has gained on the device since."""
    after = step.after
    target = _end_of_the_key(step) if _promises(step, COPIES_LATER_WINDOWS) else None
    if target is None or not after.nodes[target].backuped:
        return
    written = {i for t in after.writes for i in t.nodes}
    missing = list(_without_host_copy(after, _up_to(written, after.path(target))))
    need = sum(len(after.nodes[i].key) for i in missing)
    room = after.pools["host_swa"].free_slots + reclaimable_host(after, SWA) if missing else 0
    for i in missing if need <= room else ():
        yield Fault(
            f"the SWA of {after.name(i)} is not on the host, which has room for {need}", (i,)
        )


@step_invariant(
    "S-backup-4",
    op.Insert,
    formula="option copies-later-states: ok, the key's node was there, backed up, in no write, and"
    " has its state on the device => its state is on the host, or there is no room for one, or for"
    " the window that goes with it",
    without_it="The prefix comes back from the host without its state: of no use.",
    taught_by="SGLang 33639",
    holds_under=WITH_MAMBA,
)
def a_backed_up_prefix_keeps_its_state_on_the_host(step: Step) -> Iterator[Fault]:
    """An insert onto a backed-up node copies the state that it finds or brings there."""
    after = step.after
    target = (
        _end_of_the_key(step)
        if _promises(step, COPIES_LATER_STATES) and after.config.has_mamba
        else None
    )
    if target is None or not after.nodes[target].backuped:
        return
    state = after.nodes[target].mamba
    if any(target in t.nodes for t in after.writes) or state is None or state.device is None:
        return
    room = after.pools["host_mamba"].free_slots + reclaimable_host(after, MAMBA)
    if state.host is None and room and _has_room_for_window(after, target):
        yield Fault(f"the state of {after.name(target)} is not on the host", (target,))


def _has_room_for_window(view: View, target: int) -> bool:
    """Room on the host for all SWA of a node's window that a copy would take along."""
    if not view.config.has_swa:
        return True
    written = {i for t in view.writes for i in t.nodes}
    missing = _without_host_copy(view, _up_to(written, view.path(target)))
    room = view.pools["host_swa"].free_slots + reclaimable_host(view, SWA)
    return sum(len(view.nodes[i].key) for i in missing) <= room


@step_invariant(
    "S-backup-5",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="option copies-later-windows: write queued in this step for n => every SWA on device"
    " in the window of n, up to another write or a gap, is on the host as well",
    without_it="A node comes back from the host without the window before it: of no use.",
    taught_by="SGLang 26556",
    holds_under=WITH_SWA,
)
def a_backup_takes_its_window_along(step: Step) -> Iterator[Fault]:
    """A backup copies what of the window above its node the host lacks."""
    after, known = step.after, {t.id for t in step.before.writes}
    if not _promises(step, COPIES_LATER_WINDOWS) or not after.config.has_swa:
        return
    for t in after.writes:
        if t.id in known or t.node < 0:
            continue
        others = {i for u in after.writes if u.id != t.id for i in u.nodes}
        for i in _without_host_copy(after, _up_to(others, after.path(t.node))):
            told = f"the backup of {after.name(t.node)} leaves the SWA of {after.name(i)} behind"
            yield Fault(told, (t.node, i))


def _without_host_copy(view: View, upwards: Iterable[int]) -> Iterator[int]:
    """Of one window, upwards from its end and up to a gap: nodes with SWA on the device alone."""
    covered = 0
    for i in upwards:
        swa = view.nodes[i].swa
        if swa is None or (swa.device is None and swa.host is None):
            return
        if swa.host is None:
            yield i
        covered += len(view.nodes[i].key)
        if covered >= view.config.sliding_window:
            return


def _up_to(writing: Container[int], upwards: Iterable[int]) -> Iterator[int]:
    return takewhile(lambda i: i not in writing, upwards)


def _promises(step: Step, option: str) -> bool:
    return option in step.after.options and step.after.config.writes_through and is_ok(step)


def _end_of_the_key(step: Step) -> int | None:
    """The node where an insert ended, if it was there before."""
    assert isinstance(step.operation, op.Insert)
    key = aligned(step.after, step.operation.tokens)
    path = path_to(step.after, step.operation.namespace, key)
    if not path or step.after.nodes[path[-1]].end != len(key):
        return None
    b = step.origin.get(path[-1])
    return path[-1] if b is not None and step.before.nodes[b].end == len(key) else None


@step_invariant(
    "S-backup-3",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="write queued in this step for n, not backed up before => n or a node below it reached"
    " the threshold of hits",
    without_it="The host fills with what was asked for once, and gives up what is asked for often.",
    taught_by="M-73, a mutant of 0.5.23",
    holds_under=WRITE_THROUGH,
)
def nothing_is_backed_up_before_its_time(step: Step) -> Iterator[Fault]:
    """What is copied to the host was hit often enough, or lies above what was."""
    before, after = step.before, step.after
    threshold = before.config.write_through_threshold
    known = {t.id for t in before.writes}
    often = {a for i, n in enumerate(after.nodes) if n.hit >= threshold for a in after.path(i)}
    for t in after.writes:
        b = step.origin.get(t.node)
        was_there = b is not None and before.nodes[b].backuped
        if t.id not in known and t.node >= 0 and not was_there and t.node not in often:
            hits = after.nodes[t.node].hit
            yield Fault(f"{after.name(t.node)} is backed up after {hits} hits", (t.node,))
