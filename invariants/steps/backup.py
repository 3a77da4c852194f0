"""What a backup copies (domain.md 6.6)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_SWA, WRITE_THROUGH, Step, step_invariant
from radixproof.invariants.steps.compare import aligned, had_to_evict, is_ok, path_to, tier_of
from radixproof.invariants.steps.loss import reclaimable_host
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import BACKS_UP_WINDOWS


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
    formula="option backs-up-windows: ok, the key's node was there, is backed up and in no write =>"
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
    judged = BACKS_UP_WINDOWS in after.options and after.config.writes_through and is_ok(step)
    target = _end_of_the_key(step) if judged else None
    if target is None or not after.nodes[target].backuped:
        return
    written = {i for t in after.writes for i in t.nodes}
    missing, covered = [], 0
    for i in after.path(target):
        swa = after.nodes[i].swa
        if i in written or swa is None or (swa.device is None and swa.host is None):
            break
        if swa.host is None:
            missing.append(i)
        covered += len(after.nodes[i].key)
        if covered >= after.config.sliding_window:
            break
    need = sum(len(after.nodes[i].key) for i in missing)
    room = after.pools["host_swa"].free_slots + reclaimable_host(after, SWA) if missing else 0
    for i in missing if need <= room else ():
        yield Fault(
            f"the SWA of {after.name(i)} is not on the host, which has room for {need}", (i,)
        )


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
