"""Requests and receipts: changed by the operations of their owners alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import (
    EVICTING_DEVICE,
    INSERTING,
    LOADING,
    closed_with,
    is_ok,
    may_drain_writes,
)
from radixproof.invariants.steps.frames.common import ENDING, all_but, id_of
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.snapshot import Receipt, Request
from radixproof.model.storage import BACKUP, STORAGE_OWNERS
from radixproof.model.storage_operations import BeginPrefetch, CheckPrefetch, PollStorage

_OF_REQUESTS = (op.Admit, op.Prepare, op.Proceed, op.Prefill, op.Decode, op.SlideWindow)
_OF_REQUESTS_TOO = (op.ReleaseWindow, op.Turn, *ENDING)


@step_invariant(
    "S-frame-3",
    *all_but(*_OF_REQUESTS, *_OF_REQUESTS_TOO),
    formula="requests after = requests before",
    without_it="A request's row would follow something that it has no part in.",
    taught_by="M-4, M-11",
)
def requests_change_only_by_their_own_operations(step: Step) -> Iterator[Fault]:
    """Operations that name no request change no request."""
    before, after = _requests(step.before), _requests(step.after)
    if step.before.candidates != step.after.candidates:
        yield from _waiting_changed(step)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Fault(f"request {name} changed")


@step_invariant(
    "S-frame-4",
    *all_but(),
    formula="receipts of clients change in Lock/Unlock/HostLock/HostUnlock, of a request in its"
    " own operations, of writes and loads where these begin (only more) or are observed (only"
    " less); of prefetches where these begin, are checked, polled or aborted; of writes to the"
    " store where a backup is acknowledged, and polled",
    without_it="A lock that somebody else ends protects nothing; one that nobody took never ends.",
    taught_by="M-10, M-11",
)
def receipts_change_only_for_their_owner(step: Step) -> Iterator[Fault]:
    """A lock receipt begins and ends with its owner's operations and keeps its extent."""
    o = step.operation
    before, after = _receipts(step.before), _receipts(step.after)
    for ended, held in (
        *((True, x) for x in (before - after)),
        *((False, x) for x in (after - before)),
    ):
        tier, owner, name = held[:3]
        if owner == "client":
            classes = (op.Unlock, op.HostUnlock) if ended else (op.Lock, op.HostLock)
            allowed = isinstance(o, classes) and o.holder == name
        elif owner == "request":
            # A chunk, a retraction and going on move the lock; an early release makes it less.
            moving = (op.Prefill, op.Proceed, op.Retract, op.ReleaseWindow)
            only = (*moving, *ENDING) if ended else (*moving, op.Admit, op.Prepare, op.Turn)
            allowed = isinstance(o, only) and o.request == name
        elif owner == "session":
            turn = {s.name: s.turn for s in (*step.before.sessions, *step.after.sessions) if s.turn}
            # A turn that begins has the session's lock; where it ends, the session has it again.
            if isinstance(o, (op.Turn, op.Proceed) if ended else ENDING):
                allowed = getattr(o, "request", None) == turn.get(name)
            else:
                allowed = ended and isinstance(o, op.CloseSession) and name in closed_with(step)
        elif ended and owner == op.WRITE and may_drain_writes(step):
            continue
        elif owner in STORAGE_OWNERS:
            if not _of_storage(step, owner, name, ended=ended):
                yield Fault(f"a {owner} receipt {name} {'ended' if ended else 'began'}")
            continue
        elif ended:
            allowed = isinstance(o, op.Observe) and o.stream == owner
        else:
            allowed = isinstance(o, INSERTING if owner == op.WRITE else LOADING)
        if not allowed or not is_ok(step):
            yield Fault(f"a {tier} receipt of {owner} {name} {'ended' if ended else 'began'}")


def _of_storage(step: Step, owner: str, name: str, *, ended: bool) -> bool:
    """Whether this step may begin, or end, what a prefetch or a write to the store holds.

    An eviction that writes back hands on what it copied, also where it did not free enough.
    """
    o = step.operation
    if owner == BACKUP:
        drains = step.before.config.writes_back and isinstance(o, EVICTING_DEVICE)
        acknowledges = drains or (isinstance(o, op.Observe) and o.stream == op.WRITE)
        return isinstance(o, PollStorage) if ended else acknowledges
    if ended and isinstance(o, PollStorage):
        return True
    kinds = (CheckPrefetch, op.Abort) if ended else (BeginPrefetch,)
    return isinstance(o, kinds) and o.request == name and is_ok(step)


def _waiting_changed(step: Step) -> Iterator[Fault]:
    """Candidates as they are, but for the index of their last node."""
    before, after = (
        [
            (c.name, c.namespace, c.tokens, c.priority, id_of(v, c.last_node), c.best_match)
            for c in v.candidates
        ]
        for v in (step.before, step.after)
    )
    if before != after:
        yield Fault("a waiting request changed")


def _requests(view: View) -> dict[str, tuple[Any, ...]]:
    return {r.name: _request(view, r) for r in view.requests}


def _request(view: View, r: Request) -> tuple[Any, ...]:
    told = (r.namespace, r.tokens, r.prompt_len, r.priority)
    return (
        *told,
        r.committed,
        r.protected,
        r.swa_evicted,
        r.row,
        id_of(view, r.last_node),
        *_state(r),
    )


def _state(r: Request) -> tuple[Any, ...]:
    own = (r.state_slot, r.state_source, r.zero_state)
    return (*own, r.tracking_slots, r.tracked, r.tracked_slot, r.branching)


def _receipts(view: View) -> Counter[tuple[Any, ...]]:
    return Counter(_receipt(view, r) for r in view.receipts)


def _receipt(view: View, r: Receipt) -> tuple[Any, ...]:
    return (r.tier, r.owner, r.name, id_of(view, r.anchor), r.full_start, r.swa_start, r.state)
