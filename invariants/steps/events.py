"""What a router is told is what there is (domain.md 6.14, I-40)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.blocks import CLEARED, CPU, GPU, STORED, blocks
from radixproof.model.config import FULL
from radixproof.model.operations import EVERY_OPERATION
from radixproof.model.options import BACKS_UP_WINDOWS

Blocks = dict[int, int | None]
"""Block hash -> its parent's."""


def arriving(view: View) -> set[int]:
    """FULL host slots of backups that nobody has acknowledged."""
    return {x for t in view.writes for m in t.moves if m.component == FULL for x in m.host}


def resident(view: View) -> dict[str, Blocks]:
    """Medium -> the blocks with FULL data there; on the host once the copy is acknowledged."""
    found: dict[str, Blocks] = {GPU: {}, CPU: {}}
    coming = arriving(view)
    size = view.config.page_size
    for n in view.nodes:
        names = blocks(n.namespace, n.tokens, size)
        media = [(GPU, n.full.device is not None)]
        media.append((CPU, n.full.host is not None and coming.isdisjoint(n.full.host)))
        for page in range(n.start // size, n.end // size):
            for medium, here in media:
                if here:
                    found[medium][names[page]] = names[page - 1] if page else None
    return found


@step_invariant(
    "I-40",
    *EVERY_OPERATION.values(),
    formula="kv_events: resident(before), changed by the step's events one by one,"
    " = resident(after)",
    without_it="A router would send requests to a worker that dropped the prefix, or past one that"
    " has it.",
    taught_by="SGLang 27072, 38429, M-2, M-58",
)
def events_tell_what_is_resident(step: Step) -> Iterator[Fault]:
    """Replaying the events of a step turns the blocks there were into the blocks there are."""
    if not step.after.config.kv_events:
        if step.after.events:
            yield Fault("events were emitted that nobody asked for")
        return
    told = resident(step.before)
    for e in step.after.events:
        if e.kind == CLEARED:
            told = {GPU: {}, CPU: {}}
        elif e.block is None or e.medium not in told:
            yield Fault(f"an event names no block or medium: {e}")
        elif e.kind == STORED:
            again = e.medium == CPU and BACKS_UP_WINDOWS in step.after.options
            if e.block in told[e.medium] and not again:
                yield Fault(f"block {e.block} is stored on {e.medium} again")
            told[e.medium][e.block] = e.parent
        elif e.block not in told[e.medium]:
            yield Fault(f"block {e.block} is removed from {e.medium}, where it is not")
        else:
            del told[e.medium][e.block]
    for medium, found in resident(step.after).items():
        if told[medium] != found:
            missing, extra = found.keys() - told[medium].keys(), told[medium].keys() - found.keys()
            yield Fault(f"{medium}: {len(missing)} blocks untold, {len(extra)} told and not there")


@step_invariant(
    "I-40",
    *EVERY_OPERATION.values(),
    formula="kv_events: after every event each stored block's parent is stored on the same medium"
    " (CPU under write-back: on any)",
    without_it="A router indexes blocks by their parents: it would drop the block, or the whole"
    " stream.",
    taught_by="M-58",
)
def stored_blocks_have_their_parents(step: Step) -> Iterator[Fault]:
    """A block is told after its parent, and taken back before it."""
    if not step.after.config.kv_events:
        return
    told = {medium: dict(found) for medium, found in resident(step.before).items()}
    strict = not step.after.config.writes_back
    for e in step.after.events:
        if e.kind == CLEARED:
            told = {GPU: {}, CPU: {}}
        elif e.block is None or e.medium not in told:
            continue
        elif e.kind == STORED:
            known = told[e.medium].keys() if strict or e.medium == GPU else told[GPU] | told[CPU]
            if e.parent is not None and e.parent not in known:
                yield Fault(f"block {e.block} is stored on {e.medium} before its parent")
            told[e.medium][e.block] = e.parent
        else:
            orphans = [b for b, parent in told[e.medium].items() if parent == e.block]
            if orphans and (strict or e.medium == GPU):
                yield Fault(f"block {e.block} left {e.medium} before its children")
            told[e.medium].pop(e.block, None)
