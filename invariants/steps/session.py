"""What the operations of sessions and of their turns do (model/session_operations.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from radixproof.invariants.catalogue import WITH_SESSIONS, Step, step_invariant
from radixproof.invariants.steps.compare import (
    aligned,
    closed_with,
    is_ok,
    path_to,
    unchanged,
    values_stay,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import STOPS_AT_BRANCHES
from radixproof.model.snapshot import Request, Session

_OF_TURNS = (op.Turn, op.Proceed, op.Prefill, op.Finish, op.Abort, op.Retract)
_ALL_BUT_RESET = tuple(c for c in op.EVERY_OPERATION.values() if c is not op.Reset)


def _named(view: View, name: str) -> Session | None:
    return next((s for s in view.sessions if s.name == name), None)


def _of(view: View, request: str) -> Session | None:
    """The session whose turn a request is."""
    return next((s for s in view.sessions if s.turn == request), None)


def _running(view: View, name: str) -> Request | None:
    return next((r for r in view.requests if r.name == name), None)


def _freed(step: Step) -> int:
    """FULL slots that became free."""
    return step.after.pools["full"].free_slots - step.before.pools["full"].free_slots


def _same(step: Step, old: Session, new: Session) -> bool:
    """Alike but for the index of the last node, which may shift, and who was turned away."""
    ends = [
        view.nodes[s.last_node].id if s.last_node >= 0 else s.last_node
        for view, s in ((step.before, old), (step.after, new))
    ]
    plain = [replace(s, last_node=0, rejected=()) for s in (old, new)]
    return ends[0] == ends[1] and plain[0] == plain[1]


def _accepted(step: Step) -> bool:
    return is_ok(step) and bool(step.outcome.values.get("accepted", 1))


@step_invariant(
    "S-session-1",
    *_ALL_BUT_RESET,
    formula="s after = s before, for every session that the operation does not name, itself or by"
    " a turn of it",
    without_it="What a conversation left on the device would change while nobody speaks.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def sessions_change_only_by_their_own_operations(step: Step) -> Iterator[Fault]:
    """A session changes only when it is opened or closed, or when a turn of it begins or ends."""
    o = step.operation
    mine = closed_with(step) if isinstance(o, op.CloseSession) else {getattr(o, "session", "")}
    if isinstance(o, _OF_TURNS):
        for view in (step.before, step.after):
            mine |= {s.name for s in view.sessions if s.turn == o.request}
    before = {s.name: s for s in step.before.sessions if s.name not in mine}
    after = {s.name: s for s in step.after.sessions if s.name not in mine}
    if before.keys() != after.keys():
        yield Fault(f"there are sessions {sorted(after)}, not {sorted(before)}")
    for name in sorted(before.keys() & after.keys()):
        if not _same(step, before[name], after[name]):
            yield Fault(f"session {name} changed")


@step_invariant(
    "S-session-2",
    op.OpenSession,
    formula="ok => the session is open without history, turn or KV; nothing else changed",
    without_it="A conversation would begin with somebody else's words.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def an_opened_session_is_empty(step: Step) -> Iterator[Fault]:
    """Opening a session costs nothing and brings nothing."""
    assert isinstance(step.operation, op.OpenSession)
    yield from unchanged(step, "pools", "receipts", "requests", "full_to_swa", "evictable")
    name = step.operation.session
    opened = Session(name, "", (), "", publishes=False, closing=False)
    if is_ok(step) and _named(step.after, name) != opened:
        yield Fault(f"session {name} is not open and empty")


@step_invariant(
    "S-session-3",
    op.Turn,
    formula="accepted => tokens of the turn = history ++ the new ones; its namespace and priority"
    " as given; it is in flight",
    without_it="The model would answer another conversation than the client has.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_turn_goes_on_from_the_history(step: Step) -> Iterator[Fault]:
    """A turn's tokens are what its session said and was told before, and the new ones."""
    o = step.operation
    assert isinstance(o, op.Turn)
    before = _named(step.before, o.session)
    if not _accepted(step) or before is None:
        return
    waiting = (c for c in step.after.candidates if c.name == o.request)
    turn = _running(step.after, o.request) or next(waiting, None)
    wanted = (before.history + o.tokens, o.namespace, o.priority)
    if turn is None or (turn.tokens, turn.namespace, turn.priority) != wanted:
        yield Fault(f"turn {o.request} is not {list(wanted[0])}")
    after = _named(step.after, o.session)
    if after is None or (after.turn, after.history) != (o.request, before.history):
        yield Fault(f"turn {o.request} is not in flight")


@step_invariant(
    "S-session-9",
    op.Turn,
    formula="ok => accepted iff no turn of the session is in flight; if not, the session, all"
    " requests, receipts and data are as before",
    without_it="Two turns would run on the same slots, or none for ever.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_session_has_one_turn_in_flight(step: Step) -> Iterator[Fault]:
    """A turn is accepted when no other one of its session is in flight, and only then."""
    assert isinstance(step.operation, op.Turn)
    before = _named(step.before, step.operation.session)
    if not is_ok(step) or before is None:
        return
    if _accepted(step) == bool(before.turn):
        told = "accepted" if before.turn else "turned away"
        yield Fault(f"a turn was {told}, in flight is {before.turn or 'none'}")
    if _accepted(step):
        return
    after = _named(step.after, before.name)
    if after is None or not _same(step, before, after):
        yield Fault(f"session {before.name} changed for a turn that was not accepted")
    yield from unchanged(step, "pools", "receipts", "requests", "nodes", "full_to_swa")


@step_invariant(
    "S-session-4",
    op.Turn,
    op.Proceed,
    formula="ok, s held KV => of it min(s.committed, tokens - 1) tokens are the turn's, in the same"
    " slots, as far protected (below a frontier of SWA in whole pages); all beyond is free; no node"
    " changed. s held none => the row is the protected prefix",
    without_it="It would compute again what it has, or attend to what it has not.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_turn_takes_what_its_session_holds(step: Step) -> Iterator[Fault]:
    """A turn begins with the KV that its session kept, and the tree is left alone."""
    assert isinstance(step.operation, op.Turn | op.Proceed)
    name = step.operation.request
    after = _of(step.after, name)
    r = _running(step.after, name)
    if not is_ok(step) or after is None or r is None:
        return
    before = _named(step.before, after.name)
    if after.row:
        yield Fault(f"turn {name} does not run on what session {after.name} holds")
    if before is None or not before.row:
        if not (r.committed == r.protected == len(r.row) < len(r.tokens)):
            yield Fault(f"turn {name}: {r.committed} computed, {r.protected} protected")
        return
    size = step.after.config.page_size
    usable = min(before.committed, len(r.tokens) - 1)
    if before.swa_evicted > usable:
        usable -= usable % size
    if r.committed != usable or r.protected != before.protected:
        yield Fault(
            f"turn {name} has {r.committed} tokens, {r.protected} protected, of {before.committed}"
            f" and {before.protected}"
        )
    length = -(-r.committed // size) * size
    if r.row != before.row[:length] or _freed(step) != len(before.row) - length:
        yield Fault(f"turn {name} has other slots than its session held")
    if r.swa_evicted != min(before.swa_evicted, r.committed):
        yield Fault(f"turn {name} slid to {r.swa_evicted}, its session to {before.swa_evicted}")
    yield from unchanged(step, "nodes", "evictable", "protected")


@step_invariant(
    "S-session-5",
    op.Prefill,
    formula="ok => committed grew by count; the turn that found nothing held: once its prompt is"
    " complete, its whole pages are in the tree (option stops-at-branches: with SWA, up to a page"
    " at least), protected, and the row follows them; any other: no node is new",
    without_it="Others could not share the prompt, or every turn would be kept twice.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_turn_publishes_its_first_prompt_alone(step: Step) -> Iterator[Fault]:
    """The first prompt of a session goes into the tree, later turns do not."""
    assert isinstance(step.operation, op.Prefill)
    o, session = step.operation, _of(step.after, step.operation.request)
    old, r = _running(step.before, o.request), _running(step.after, o.request)
    if not is_ok(step) or session is None or old is None or r is None:
        return
    if r.committed != old.committed + o.count:
        yield Fault(f"committed {r.committed}, not {old.committed + o.count}")
    if not session.publishes:
        new = tuple(i for i in range(len(step.after.nodes)) if i not in step.origin)
        if new or r.protected != old.protected:
            yield Fault(f"a later turn of session {session.name} was cached", new)
        return
    if r.committed < r.prompt_len:
        return
    done = aligned(step.after, r.tokens[: r.committed])
    path = path_to(step.after, r.namespace, done)
    slots = tuple(x for i in path for x in step.after.nodes[i].full.device or ())
    stops = STOPS_AT_BRANCHES in step.after.options and step.after.config.has_swa
    least = min(step.after.config.page_size, len(done)) if stops else len(done)
    if not least <= r.protected <= len(slots):
        yield Fault(f"{len(slots)} of {len(done)} tokens of the first prompt are in the tree")
    if r.row[: r.protected] != slots[: r.protected]:
        yield Fault("the row does not follow the tree's slots", tuple(path))


@step_invariant(
    "S-session-6",
    op.Finish,
    op.Retract,
    formula="ok => the session holds the turn's slots of its tokens, as far computed (at the end of"
    " a turn also the token sampled last, where it has a slot), protected and slid as the turn was;"
    " all beyond is free; values as before. Finish: history = the turn's tokens, none in flight",
    without_it="The next turn would find less than was computed, or more.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_session_keeps_what_its_turn_computed(step: Step) -> Iterator[Fault]:
    """When a turn ends or is retracted its KV stays with the session, and nothing is cached."""
    assert isinstance(step.operation, op.Finish | op.Retract)
    name = step.operation.request
    r, before = _running(step.before, name), _of(step.before, name)
    if not is_ok(step) or r is None or before is None:
        return
    after = _named(step.after, before.name)
    if after is None:
        yield Fault(f"session {before.name} is gone")
        return
    finished = isinstance(step.operation, op.Finish)
    if finished and (after.history[:-1], after.tokens, after.turn) != (r.tokens, after.history, ""):
        yield Fault(f"session {after.name} goes on from {list(after.history)}")
    if not finished and (after.history, after.tokens, after.turn) != (
        before.history,
        r.tokens,
        name,
    ):
        yield Fault(f"session {after.name} took a retracted turn for one that ended")
    size = step.after.config.page_size
    length = min(-(-len(after.tokens) // size) * size, len(r.row))
    if after.row != r.row[:length] or _freed(step) != len(r.row) - length:
        yield Fault(f"session {after.name} keeps {len(after.row)} slots, not {length}")
    more = finished and len(r.row) > r.committed
    if not r.committed <= after.committed <= r.committed + more:
        yield Fault(f"session {after.name} has {after.committed} tokens, its turn {r.committed}")
    if (after.protected, after.swa_evicted) != (r.protected, r.swa_evicted):
        told = f"{after.protected} protected, {after.swa_evicted} slid"
        yield Fault(f"session {after.name} has {told}, not {r.protected} and {r.swa_evicted}")
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")


@step_invariant(
    "S-session-7",
    op.Abort,
    formula="ok => history as before, none in flight; the session holds nothing, and what was the"
    " turn's own is free; or, of a turn that computed nothing, all that it held before",
    without_it="An aborted turn would be gone on from, or would never be given back.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def an_aborted_turn_leaves_the_history(step: Step) -> Iterator[Fault]:
    """After an abort a session is where the last turn that finished left it, or without KV."""
    assert isinstance(step.operation, op.Abort)
    name = step.operation.request
    r, before = _running(step.before, name), _of(step.before, name)
    if not is_ok(step) or before is None:
        return
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")
    after = _named(step.after, before.name)
    if after is None or (after.turn, after.history) != ("", before.history):
        yield Fault(f"session {before.name} is not where its last turn left it")
        return
    if r is None:
        if after.row != before.row or _freed(step):
            yield Fault(f"session {before.name} lost what it held to a turn that waited")
        return
    kept = len(after.row) - after.protected if after.row else 0
    if _freed(step) != len(r.row) - r.protected - kept:
        yield Fault(f"{_freed(step)} FULL slots became free of {len(r.row) - r.protected}")


@step_invariant(
    "S-session-8",
    op.CloseSession,
    formula="ok => the session (if it is closing: all that are) is gone and its own slots are free,"
    " unless a turn of it is in flight: then it is closing, and as before; values as before",
    without_it="A conversation that is over would keep its memory for ever.",
    taught_by="a corrupted step",
    holds_under=WITH_SESSIONS,
)
def a_closed_session_gives_all_back(step: Step) -> Iterator[Fault]:
    """Closing a session frees its KV, at once or when its turn has ended."""
    assert isinstance(step.operation, op.CloseSession)
    if not is_ok(step):
        return
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")
    own, due = 0, closed_with(step)
    for before in (s for s in step.before.sessions if s.name in due):
        after = _named(step.after, before.name)
        if not before.turn:
            own += len(before.row) - before.protected
            if after is not None:
                yield Fault(f"session {before.name} has no turn in flight and is still open")
        elif after is None or not _same(step, replace(before, closing=True), after):
            yield Fault(f"session {before.name} has a turn in flight and was closed")
    if _freed(step) != own:
        yield Fault(f"{_freed(step)} FULL slots became free, not {own}")
    yield from unchanged(step, "requests")
