"""Submitting, running and acknowledging copies (domain.md 6.7, 6.8.3, 8.1)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.compare import (
    is_ok,
    is_refused,
    receipts_stay,
    unchanged,
    values_stay,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.snapshot import Transfer

MAX_UNFINISHED_LOADS = 3
"""Submissions of loads that may be unfinished at a time (domain.md 4.5)."""

_TREE = ("nodes", "lru", "access_order", "evictable", "protected", "full_to_swa", "requests")


def _queue(view: View, stream: str) -> tuple[Transfer, ...]:
    return view.writes if stream == op.WRITE else view.loads


@step_invariant(
    "S-start-loading-1",
    op.StartLoading,
    formula="ok => queued loads become one submission after the others, of which at most two were"
    " unfinished; refused => three were; all else as before",
    without_it="A load that is neither queued nor submitted never arrives.",
    taught_by="domain.md 6.8.3",
    holds_under=WITH_HOST,
)
def start_loading_submits_the_queue(step: Step) -> Iterator[Fault]:
    """Starting to load turns all queued loads into one submission and does nothing else."""
    yield from unchanged(step, *_TREE, "pools", "receipts", "writes")
    before, after = step.before.loads, step.after.loads
    if [t.id for t in before] != [t.id for t in after]:
        yield Fault("loads came or went")
        return
    queued = [i for i, t in enumerate(before) if t.stage == "queued"]
    if is_ok(step):
        if step.outcome.values.get("submitted") != len(queued):
            yield Fault(f"submitted {step.outcome.values.get('submitted')} of {len(queued)}")
        if any(after[i].stage != "submitted" for i in queued):
            yield Fault("a queued load was not submitted")
        if len({after[i].batch for i in queued}) > 1:
            yield Fault("one start made several submissions")
    unfinished = len({t.batch for t in before if t.stage == "submitted"})
    if is_refused(step) and unfinished < MAX_UNFINISHED_LOADS:
        yield Fault(f"refused with {unfinished} unfinished submissions")
    if is_ok(step) and queued and unfinished >= MAX_UNFINISHED_LOADS:
        yield Fault(f"one more was submitted while {unfinished} were unfinished")


@step_invariant(
    "S-execute-1",
    op.Execute,
    formula="contents after = contents before, with every destination slot of the oldest waiting"
    " submission replaced by its source slot",
    without_it="The bytes are what all the bookkeeping is for.",
    taught_by="M-3, M-6, M-14",
    holds_under=WITH_HOST,
)
def executing_copies_exactly_its_slots(step: Step) -> Iterator[Fault]:
    """Running a copy fills its destination slots from its sources and no other slot."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Execute)
    stream = step.operation.stream
    waiting = [t for t in _queue(step.before, stream) if t.stage == "submitted"]
    wanted = {name: list(pool.contents) for name, pool in step.before.pools.items()}
    for t in waiting:
        if t.batch != waiting[0].batch:
            continue
        for m in t.moves:
            host, device = f"host_{m.component}", m.component
            ends = (device, m.device, host, m.host)
            source, from_slots, target, to_slots = (
                ends if stream == op.WRITE else ends[2:] + ends[:2]
            )
            for x, y in zip(from_slots, to_slots, strict=False):
                wanted[target][y] = step.before.pools[source].contents[x]
    for name, contents in wanted.items():
        found = step.after.pools[name].contents
        wrong = tuple((name, x) for x, c in enumerate(contents) if found[x] != c)
        if wrong:
            yield Fault(f"{name} slots {[x for _, x in wrong]} hold the wrong bytes", (), wrong)


@step_invariant(
    "S-execute-2",
    op.Execute,
    formula="ok => exactly the oldest waiting submission is executed; tree, locks, free lists as"
    " before",
    without_it="Completion is noticed when it is observed, not when it happens.",
    taught_by="M-17",
    holds_under=WITH_HOST,
)
def executing_changes_nothing_but_bytes(step: Step) -> Iterator[Fault]:
    """Running a copy changes bytes and its own stage; nobody else notices."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Execute)
    yield from unchanged(step, *_TREE, "receipts", "host_leaves", "device_leaves", "host_lru")
    before = _queue(step.before, step.operation.stream)
    after = _queue(step.after, step.operation.stream)
    oldest = next((t.batch for t in before if t.stage == "submitted"), None)
    wanted = [
        (t.id, "executed" if t.batch == oldest and t.stage == "submitted" else t.stage)
        for t in before
    ]
    if [(t.id, t.stage) for t in after] != wanted:
        yield Fault("not exactly the oldest submission was executed")


@step_invariant(
    "S-observe-1",
    op.Observe,
    formula="ok => a prefix of executed submissions, at most limit, left the queue; their"
    " receipts and"
    " marks ended; data, maps and the rest of the queue as before",
    without_it="Data would count as safe before it is, or be pinned for ever.",
    taught_by="M-2, M-17",
    holds_under=WITH_HOST,
)
def observing_acknowledges_finished_heads(step: Step) -> Iterator[Fault]:
    """Observing ends exactly the finished copies at the head of the queue."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Observe)
    o = step.operation
    before, after = _queue(step.before, o.stream), _queue(step.after, o.stream)
    finished: list[int] = []
    for batch in sorted({t.batch for t in before if t.stage == "executed"}):
        if o.limit is None or batch < o.limit:
            finished += [t.id for t in before if t.batch == batch and t.stage == "executed"]
    if [t.id for t in after] != [t.id for t in before if t.id not in finished]:
        yield Fault("the queue lost others than its finished heads")
    if step.outcome.values.get("acknowledged") != len(finished):
        yield Fault(f"acknowledged {step.outcome.values.get('acknowledged')}, not {len(finished)}")
    ended = _copying(step.before) - _copying(step.after)
    if ended != len(finished) * (1 if o.stream == op.WRITE else len(step.before.load_locks)):
        yield Fault(f"{ended} receipts ended with {len(finished)} copies")
    for i, n in enumerate(step.after.nodes):
        if o.stream == op.WRITE and n.pending in finished:
            yield Fault(f"{step.after.name(i)} is still marked pending", (i,))


def _copying(view: View) -> int:
    """Receipts of copies; an acknowledged backup may go on to the store, which takes its own."""
    return sum(r.owner in op.STREAMS for r in view.receipts)


@step_invariant(
    "S-observe-2",
    op.Observe,
    formula="all values, contents, free lists, maps and requests as before",
    without_it="An acknowledgement is a message; the data has been in place since the copy ran.",
    taught_by="M-40",
    holds_under=WITH_HOST,
)
def observing_moves_no_data(step: Step) -> Iterator[Fault]:
    """An acknowledgement changes locks and marks, never data."""
    yield from unchanged(step, "pools", "full_to_swa", "requests", "access_order", "lru")
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")
    if step.outcome.values.get("acknowledged") == 0:
        yield from receipts_stay(step)
