"""What the operations of a request's life do to it and to the cache (domain.md 6.9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from radixproof.invariants.catalogue import WITH_SWA, Step, step_invariant
from radixproof.invariants.steps.compare import (
    aligned,
    is_ok,
    is_refused,
    joins_a_batch,
    path_to,
    settles,
    unchanged,
    values_stay,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import EXTRA_BUFFER_LAZY
from radixproof.model.options import STOPS_AT_BRANCHES, STRIPS_THINKING
from radixproof.model.snapshot import Candidate, Request

_RUNNING = (op.Prefill, op.Decode, op.SlideWindow, op.Finish, op.Abort)
_WAITING = (op.Prepare, op.Proceed, op.Retract, op.ReleaseWindow, op.Turn)
_Waits = op.Prepare | op.Proceed | op.Retract | op.ReleaseWindow | op.Turn
_OfRequest = op.Admit | op.Prefill | op.Decode | op.SlideWindow | op.Finish | op.Abort | _Waits


def _request(view: View, name: str) -> Request | None:
    return next((r for r in view.requests if r.name == name), None)


def _candidate(view: View, name: str) -> Candidate | None:
    return next((c for c in view.candidates if c.name == name), None)


def _waited_on(step: Step, name: str) -> int:
    """Tokens of the device prefix that a request held while it waited."""
    c = _candidate(step.before, name)
    return step.before.nodes[c.last_node].end if c is not None and c.last_node >= 0 else 0


def _plain(view: View, r: Request) -> Request:
    """A request with the id of its last node: the index may shift."""
    return replace(r, last_node=_id(view, r.last_node))


def _id(view: View, index: int) -> int:
    return view.nodes[index].id if index >= 0 else index


def _alike(step: Step, old: Request, new: Request) -> bool:
    """The same request, or the same but for a state that a forward pass settled."""
    before, after = _plain(step.before, old), _plain(step.after, new)
    if joins_a_batch(step, old, new):
        before = replace(before, row=new.row, granted=new.granted, put_off=new.put_off)
    if settles(step, old, new):
        before = replace(
            before,
            state_slot=new.state_slot,
            state_source=new.state_source,
            zero_state=new.zero_state,
        )
    if step.before.config.overlap_schedule:  # a result of its own may have been looked at
        after = replace(after, tracked=None, tracked_slot=None)
        before = replace(before, tracked=None, tracked_slot=None)
        if step.before.config.mamba_strategy == EXTRA_BUFFER_LAZY:  # and given its old slot back
            before = replace(before, tracking_slots=after.tracking_slots)
    return before == after


@step_invariant(
    "S-request-1",
    op.Admit,
    *_RUNNING,
    *_WAITING,
    formula="all other requests r: r after = r before",
    without_it="Requests share prefixes, never fates.",
    taught_by="M-4, M-11",
)
def other_requests_are_left_alone(step: Step) -> Iterator[Fault]:
    """An operation of one request changes no other request's row or progress."""
    assert isinstance(step.operation, _OfRequest)
    mine = step.operation.request
    before = [r for r in step.before.requests if r.name != mine]
    after = [r for r in step.after.requests if r.name != mine]
    alike = (_alike(step, b, a) for b, a in zip(before, after, strict=False))
    if len(before) != len(after) or not all(alike):
        yield Fault(f"an operation of {mine} changed another request")
    waiting = [
        [replace(c, last_node=_id(view, c.last_node)) for c in view.candidates if c.name != mine]
        for view in (step.before, step.after)
    ]
    if waiting[0] != waiting[1]:
        yield Fault(f"an operation of {mine} changed another request that waits")


@step_invariant(
    "S-admit-1",
    op.Admit,
    op.Proceed,
    formula="ok => row = protected prefix, committed = protected < len(tokens), last_node ends"
    " it, one"
    " request receipt on it; without a load protected = device_hit",
    without_it="A request that starts on slots it does not hold reads whatever comes there.",
    taught_by="M-25, M-37",
    of_turns=False,
)
def an_admitted_request_holds_its_prefix(step: Step) -> Iterator[Fault]:
    """A new request's row is its protected prefix, which it locks, short of its last token."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Admit | op.Proceed)
    r = _request(step.after, step.operation.request)
    if r is None:
        yield Fault("the request does not run")
        return
    values = step.outcome.values
    if step.after.config.decode_server:
        yield from _waits_for_what_it_lacks(r)
    else:
        if not len(r.row) == r.protected == r.committed == values.get("protected"):
            yield Fault(f"row {len(r.row)}, protected {r.protected}, committed {r.committed}")
        if r.protected >= len(r.tokens):
            yield Fault("nothing is left to compute")
    hit = values.get("device_hit", _waited_on(step, r.name))
    if not values.get("loaded") and r.protected != hit:
        yield Fault(f"protected {r.protected} is not the device hit {hit}")
    if _candidate(step.after, r.name) is not None:
        yield Fault("the request runs and waits")
    end = step.after.nodes[r.last_node].end if r.last_node >= 0 else 0
    if end != r.protected and not (step.after.config.decode_server and end > r.protected):
        yield Fault(f"the last node ends at {end}, the protected prefix at {r.protected}")
    held = [
        x
        for x in step.after.receipts
        if (x.owner, x.name, x.anchor) == ("request", r.name, r.last_node)
    ]
    if len(held) != 1:
        yield Fault(f"{len(held)} receipts of the request on its last node")


def _waits_for_what_it_lacks(r: Request) -> Iterator[Fault]:
    """A prompt that arrives has slots for all of it, and comes even where the tree has it all."""
    if len(r.row) < r.prompt_len or r.committed != min(r.protected, r.prompt_len - 1):
        yield Fault(f"row {len(r.row)}, protected {r.protected}, committed {r.committed}")


@step_invariant(
    "S-prefill-1",
    op.Prefill,
    formula="ok => committed grew by count; floor_page(committed) tokens are in the tree on"
    " device and protected (with a tracking buffer S-track-1); the row's protected part is the"
    " path's slots; no load waits",
    without_it="The next chunk, and the next request, build on what this one cached.",
    taught_by="SGLang 29350, M-4",
    of_turns=False,
)
def a_prefilled_chunk_is_cached_and_held(step: Step) -> Iterator[Fault]:
    """After a chunk its whole pages are in the tree, and the request holds them there."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Prefill)
    old = _request(step.before, step.operation.request)
    r = _request(step.after, step.operation.request)
    if old is None or r is None:
        yield Fault("the request does not run")
        return
    if r.committed != old.committed + step.operation.count:
        yield Fault(f"committed {r.committed}, not {old.committed + step.operation.count}")
    if step.after.config.disable:
        return
    done = aligned(step.after, r.tokens[: r.committed])
    path = path_to(step.after, r.namespace, done)
    slots = tuple(x for i in path for x in step.after.nodes[i].full.device or ())
    shorter = STOPS_AT_BRANCHES in step.after.options or step.after.config.tracks_states
    wanted = r.protected if shorter else len(done)
    if len(slots) < wanted:
        yield Fault(f"{len(slots)} of {wanted} computed tokens are in the tree", tuple(path))
    if r.protected != step.outcome.values.get("protected") or r.protected < old.protected:
        yield Fault(f"protected {r.protected} after {old.protected}")
    if r.row[: r.protected] != slots[: r.protected]:
        yield Fault("the row does not follow the tree's slots", tuple(path))
    if any(t.stage != "executed" for t in step.after.loads):
        yield Fault("a forward pass ran before a load")


@step_invariant(
    "S-request-2",
    op.Prefill,
    op.Decode,
    formula="refused => the request as before, and everything it holds",
    without_it="The scheduler will retry, retract or abort it.",
    taught_by="domain.md 6.9",
)
def a_refused_request_keeps_what_it_has(step: Step) -> Iterator[Fault]:
    """Without memory the request stays exactly as it was."""
    if not is_refused(step):
        return
    assert isinstance(step.operation, op.Prefill | op.Decode)
    old = _request(step.before, step.operation.request)
    new = _request(step.after, step.operation.request)
    if old is None or new is None or not _alike(step, old, new):
        yield Fault(f"request {step.operation.request} changed")


@step_invariant(
    "S-decode-1",
    op.Decode,
    formula="ok => tokens and committed grew by the new tokens; the row only grew, to ``ahead``"
    " tokens beyond them at least",
    without_it="The KV of an output token must land behind its prompt.",
    taught_by="M-33",
)
def decoding_appends(step: Step) -> Iterator[Fault]:
    """Decoding appends tokens and slots and leaves what the request had."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Decode)
    old = _request(step.before, step.operation.request)
    new = _request(step.after, step.operation.request)
    if old is None or new is None:
        yield Fault("the request does not run")
        return
    if new.tokens != old.tokens + step.operation.tokens or new.committed != len(new.tokens):
        yield Fault(f"request {new.name} did not append its tokens")
    wanted = new.committed + step.operation.ahead
    if new.row[: len(old.row)] != old.row or len(new.row) < wanted:
        yield Fault(f"the row of {new.name} did not grow at its end")


@step_invariant(
    "S-slide-window-1",
    op.SlideWindow,
    formula="ok => swa_evicted is page-aligned, never falls, and leaves W + page tokens; the"
    " tree's nodes,"
    " FULL pools and all bytes as before; freed = growth of the SWA free list",
    without_it="A window that slides too far frees what the next token attends to.",
    taught_by="M-33, SGLang 34870",
    holds_under=WITH_SWA,
)
def sliding_frees_only_what_left_the_window(step: Step) -> Iterator[Fault]:
    """Sliding the window frees the request's own SWA slots that it will never read again."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.SlideWindow)
    yield from unchanged(step, "nodes", "receipts", "writes", "loads", "lru", "evictable")
    old = _request(step.before, step.operation.request)
    new = _request(step.after, step.operation.request)
    if old is None or new is None:
        yield Fault("the request does not run")
        return
    config = step.after.config
    if new.swa_evicted % config.page_size or new.swa_evicted < old.swa_evicted:
        yield Fault(f"swa_evicted went from {old.swa_evicted} to {new.swa_evicted}")
    floor = max(old.swa_evicted, old.protected)
    keep = new.committed - config.sliding_window - config.page_size
    if new.swa_evicted > max(floor, keep):
        yield Fault(f"swa_evicted {new.swa_evicted} reaches into the window")
    grown = step.after.pools["swa"].free_slots - step.before.pools["swa"].free_slots
    if step.outcome.values.get("freed") != grown:
        yield Fault(f"says {step.outcome.values.get('freed')}, {grown} SWA slots became free")
    if step.before.pools["full"] != step.after.pools["full"]:
        yield Fault("the FULL pool changed")


@step_invariant(
    "S-finish-1",
    op.Finish,
    op.Abort,
    formula="ok => the request, running or waiting, and its receipt are gone",
    without_it="A finished request that holds a lock pins its prefix for ever.",
    taught_by="M-10",
)
def an_ended_request_holds_nothing(step: Step) -> Iterator[Fault]:
    """A request that ended is gone, with its lock."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Finish | op.Abort)
    name = step.operation.request
    if _request(step.after, name) is not None or _candidate(step.after, name) is not None:
        yield Fault(f"request {name} still runs or waits")
    if any((r.owner, r.name) == ("request", name) for r in step.after.receipts):
        yield Fault(f"request {name} left a lock behind")


@step_invariant(
    "S-finish-2",
    op.Finish,
    formula="ok => floor_page(committed) tokens of the request are on device in the tree (option"
    " strips-thinking: of its prompt; with a tracking buffer S-track-1)",
    without_it="A conversation's next turn would compute all of this one again.",
    taught_by="M-33",
    of_turns=False,
)
def a_finished_request_is_cached(step: Step) -> Iterator[Fault]:
    """When a request finishes, its whole pages are in the tree, on device."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Finish)
    r = _request(step.before, step.operation.request)
    if r is None or step.after.config.disable or step.after.config.tracks_states:
        return  # with a tracking buffer: what-was-put-aside-is-cached
    kept = r.prompt_len if STRIPS_THINKING in step.after.options else r.committed
    done = aligned(step.after, r.tokens[: min(kept, r.committed)])
    path = path_to(step.after, r.namespace, done)
    on_device = sum(len(step.after.nodes[i].full.device or ()) for i in path)
    if on_device != len(done):
        yield Fault(f"{on_device} of {len(done)} tokens are in the tree", tuple(path))


@step_invariant(
    "S-abort-1",
    op.Abort,
    op.Retract,
    formula="ok => all values as before; FULL free list grew by allocated - protected",
    without_it="An aborted request must leave no trace but warmth.",
    taught_by="M-4",
    of_turns=False,
)
def an_aborted_request_caches_nothing(step: Step) -> Iterator[Fault]:
    """An abort frees the request's own slots and leaves the tree as it is."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Abort | op.Retract)
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")
    r = _request(step.before, step.operation.request)
    grown = step.after.pools["full"].free_slots - step.before.pools["full"].free_slots
    if r is not None and grown != len(r.row) - r.protected:
        yield Fault(f"{grown} FULL slots became free, not {len(r.row) - r.protected}")
