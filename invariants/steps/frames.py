"""What each operation leaves alone (domain.md 6; the docstrings of ``model/operations.py``).

The effects of an operation are stated in its own module; these rules say that nothing else moves.
Nodes are followed by id, since indices shift when a node comes, goes or is split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.compare import (
    EVICTING_DEVICE,
    INSERTING,
    LOADING,
    aligned,
    is_ok,
    may_drain_writes,
    tier_of,
    value,
    writes_host,
)
from radixproof.invariants.steps.track import inserted_tokens
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.operations import Operation
from radixproof.model.options import (
    COPIES_STATES_AT_ONCE,
    SPLITS_AT_PROMPT,
    STOPS_AT_BRANCHES,
    WAITS_UNLOCKED,
)
from radixproof.model.snapshot import Node, Receipt, Request, Transfer

_ALLOCATING = (*INSERTING, op.Decode, *LOADING)
_ENDING = (op.Finish, op.Abort, op.Retract)
_OF_REQUESTS = (op.Admit, op.Prepare, op.Proceed, op.Prefill, op.Decode, op.SlideWindow)
_OF_REQUESTS_TOO = (op.ReleaseWindow, op.Turn, *_ENDING)
_WRITING = (op.Insert, op.Prefill, op.Decode)
_TOUCHING = (op.Match, op.Insert, op.Admit, op.Prepare, op.Prefill, op.Finish, op.Retract, op.Turn)


def _except(*classes: type[Operation]) -> tuple[type[Operation], ...]:
    """All operations but these and ``Reset``, which keeps nothing."""
    return tuple(c for c in op.EVERY_OPERATION.values() if c not in classes and c is not op.Reset)


@step_invariant(
    "S-frame-1",
    *_except(*INSERTING),
    formula="not Insert, Prefill, Finish => all n: hit(n), priority(n) as before",
    without_it="Reading or evicting a prefix would decide what is backed up and what is kept.",
    taught_by="M-28",
)
def only_inserts_count_hits_and_raise_priorities(step: Step) -> Iterator[Fault]:
    """Hit counts and priorities change in inserts only."""
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b] if b is not None else None
        if old is None or (n.hit, n.priority) != (old.hit, old.priority):
            yield Fault(f"{step.after.name(i)} has hits {n.hit}, priority {n.priority}", (i,))


@step_invariant(
    "S-frame-2",
    *INSERTING,
    formula="n on the key's path => priority(n) = max(before, given); else as before",
    without_it="A priority that leaks to other prefixes protects them from eviction.",
    taught_by="X-16",
)
def an_insert_raises_priorities_on_its_path_only(step: Step) -> Iterator[Fault]:
    """An insert raises the priority of nodes on its path to its own, and of no other node."""
    key = _inserted(step) if is_ok(step) else None
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b].priority if b is not None else None
        allowed = {old}
        if key is not None and (n.namespace, n.tokens) == (key.namespace, key.tokens[: n.end]):
            allowed = {key.priority if old is None else max(old, key.priority)}
            if b is not None and not step.fragments[b]:
                allowed.add(key.priority)  # evicted and made anew
            if STOPS_AT_BRANCHES in step.after.options:
                allowed.add(old)
            if SPLITS_AT_PROMPT in step.after.options and not step.after.config.has_swa:
                allowed.add(max(old or key.priority, key.priority) + 1)
        if n.priority not in allowed:
            yield Fault(f"{step.after.name(i)} has priority {n.priority}, had {old}", (i,))


@step_invariant(
    "S-frame-3",
    *_except(*_OF_REQUESTS, *_OF_REQUESTS_TOO),
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
    *_except(),
    formula="receipts of clients change in Lock/Unlock/HostLock/HostUnlock, of a request in its"
    " own operations, of writes and loads where these begin (only more) or are observed (only"
    " less)",
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
            only = (*moving, *_ENDING) if ended else (*moving, op.Admit, op.Prepare, op.Turn)
            allowed = isinstance(o, only) and o.request == name
        elif owner == "session":
            turn = {s.name: s.turn for s in (*step.before.sessions, *step.after.sessions) if s.turn}
            # A turn that begins has the session's lock; where it ends, the session has it again.
            if isinstance(o, (op.Turn, op.Proceed) if ended else _ENDING):
                allowed = getattr(o, "request", None) == turn.get(name)
            else:
                allowed = ended and isinstance(o, op.CloseSession) and o.session == name
        elif ended and owner == op.WRITE and may_drain_writes(step):
            continue
        elif ended:
            allowed = isinstance(o, op.Observe) and o.stream == owner
        else:
            allowed = isinstance(o, INSERTING if owner == op.WRITE else LOADING)
        if not allowed or not is_ok(step):
            yield Fault(f"a {tier} receipt of {owner} {name} {'ended' if ended else 'began'}")


@step_invariant(
    "S-frame-5",
    *_except(op.Execute, op.Observe, op.StartLoading),
    formula="each queue after = queue before ++ new; new writes only in inserts, new loads only in"
    " load-backs; same slots, stages and submissions (Prefill may run loads; Abort and Retract"
    " where one would write into its state slot)",
    without_it="A copy that leaves its queue unseen never releases what it pins.",
    taught_by="M-3, M-17, M-40",
    holds_under=WITH_HOST,
)
def queues_only_grow_at_their_end(step: Step) -> Iterator[Fault]:
    """Copies wait in their queue, unchanged, until they are observed; new ones join last."""
    for stream, before, after, adding in (
        (op.WRITE, step.before.writes, step.after.writes, INSERTING),
        (op.LOAD, step.before.loads, step.after.loads, LOADING),
    ):
        waiting = isinstance(step.operation, op.Prefill) or _waits_for_its_state(step)
        submits = is_ok(step) or step.before.config.max_new_tokens > 0  # before slots are asked for
        runs = stream == op.LOAD and waiting and submits
        old = [_transfer(step.before, t, staged=not runs) for t in before]
        new = [_transfer(step.after, t, staged=not runs) for t in after]
        if stream == op.WRITE and may_drain_writes(step) and not {*old} & {*new}:
            continue
        if new[: len(old)] != old:
            yield Fault(f"a {stream} that waited was changed, lost or overtaken")
        if len(new) > len(old) and not (isinstance(step.operation, adding) and is_ok(step)):
            yield Fault(f"{len(new) - len(old)} more {stream}s wait")


@step_invariant(
    "S-frame-6",
    *_except(*_ALLOCATING, op.FailAllocation),
    formula="armed failures as before (write-back: Evict allocates on the host)",
    without_it="An operation that needs no memory would swallow, or announce, a failure.",
    taught_by="M-31",
)
def armed_failures_wait_for_an_allocation(step: Step) -> Iterator[Fault]:
    """Operations that allocate nothing consume no announced failure."""
    if writes_host(step):
        return
    if dict(step.before.armed_failures) != dict(step.after.armed_failures):
        yield Fault("armed failures changed without an allocation")


@step_invariant(
    "S-frame-7",
    *_ALLOCATING,
    op.Evict,
    formula="armed_failures[pool] after <= before; fewer only of pools that it allocates from",
    without_it="A failure must be announced by the environment alone.",
    taught_by="M-31",
)
def allocating_only_consumes_armed_failures(step: Step) -> Iterator[Fault]:
    """Operations that allocate consume announced failures of their own pools and arm none."""
    of_device = not isinstance(step.operation, op.Finish | op.Evict)
    of_host = writes_host(step)
    before, after = step.before.armed_failures, step.after.armed_failures
    for pool in sorted({*before, *after}):
        was, now = before.get(pool, 0), after.get(pool, 0)
        mine = of_host if pool.startswith("host_") else of_device
        if now > was or (now < was and not mine):
            yield Fault(f"armed failures of {pool} went from {was} to {now}")


@step_invariant(
    "S-frame-8",
    *_except(op.Execute),
    formula="contents of device pools change only in Insert, Prefill, Decode that are ok, and where"
    " a turn of a session ends; of host pools only in evictions under write-back",
    without_it="Slots are private until they are handed out; a stray write is a wrong answer.",
    taught_by="M-3, M-6",
)
def only_writers_write(step: Step) -> Iterator[Fault]:
    """Bytes change where a forward pass computes or a copy runs, and nowhere else."""
    computes = isinstance(step.operation, _WRITING) and is_ok(step)
    computes = computes or _waits_for_its_state(step) or _ends_a_turn(step)
    for name, pool in step.before.pools.items():
        on_host = name.startswith("host_")
        if (computes and not on_host) or (on_host and _waits_for_copies(step)):
            continue
        if name == MAMBA and _copies_a_state(step):
            continue
        if pool.contents != step.after.pools[name].contents:
            yield Fault(f"bytes of {name} changed")


@step_invariant(
    "S-frame-9",
    *_except(*_TOUCHING),
    formula="n, m before and after => same order in access order and in the device lists",
    without_it="Pressure and copies would keep alive what nobody asks for.",
    taught_by="SGLang 38482",
)
def only_use_refreshes_recency(step: Step) -> Iterator[Fault]:
    """Only matching and inserting make a node more recent; all others keep the order."""
    before, after = step.before, step.after
    matches = WAITS_UNLOCKED in after.options and isinstance(
        step.operation, op.LoadBack | op.Proceed
    )
    if matches and isinstance(step.operation, op.Proceed):
        return
    lists = [("access order", before.access_order, after.access_order)]
    if not matches:
        lists += [(f"{c} list", order, after.lru.get(c, ())) for c, order in before.lru.items()]
    for name, old, new in lists:
        left = _ids(before, old)
        right = _ids(after, new)
        if [x for x in left if x in set(right)] != [x for x in right if x in set(left)]:
            yield Fault(f"the {name} changed")


@step_invariant(
    "S-frame-10",
    *_except(),
    formula="n, m before and after => same order of creation",
    without_it="First-in-first-out eviction would depend on what was split or reloaded since.",
    taught_by="X-16",
)
def creation_order_never_changes(step: Step) -> Iterator[Fault]:
    """Which of two nodes is older never changes."""
    old, new = _by_creation(step.before), _by_creation(step.after)
    both = [x for x in old if x in new]
    before = sorted(both, key=lambda x: old[x])
    for x, y in pairwise(before):
        if (old[x] < old[y]) != (new[x] < new[y]) or new[x] > new[y]:
            yield Fault(f"nodes {x} and {y} changed their order of creation")


@step_invariant(
    "S-frame-11",
    *_except(),
    formula="n.c.host after and not before => its slots are those of a write queued in this step;"
    " n.c.device after and not before, in a load-back => those of a load queued in this step; in"
    " other operations that do not insert => none (write-back: S-write-back-1)",
    without_it="Data that nobody computed or copied is whatever lay in the slot.",
    taught_by="M-1e, M-3",
)
def data_appears_only_where_it_is_copied_or_computed(step: Step) -> Iterator[Fault]:
    """New host data is being written by a new backup; new device data is loaded or inserted."""
    tiers = [] if _waits_for_copies(step) else ["host"]
    tiers += [] if isinstance(step.operation, INSERTING) else ["device"]
    arriving = {
        "host": _moved(step.before.writes, step.after.writes, "host"),
        "device": _moved(step.before.loads, step.after.loads, "device"),
    }
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b] if b is not None else None
        for tier in tiers:
            for c in step.after.config.components:
                slots = _appeared(n, old, c, tier)
                if not arriving[tier].get(c, set()) >= set(slots):
                    told = f"{c} data of {step.after.name(i)} came to the {tier} from nowhere"
                    yield Fault(told, (i,))


@step_invariant(
    "I-39",
    *_except(*EVICTING_DEVICE),
    formula="n.c.device before, no device eviction => n in N, n.c.device after (any slots)",
    without_it="Device data is given up for memory, never in passing.",
    taught_by="M-42, M-15",
)
def only_device_eviction_loses_device_data(step: Step) -> Iterator[Fault]:
    """What is on the device stays on the device until a device eviction takes it."""
    for b, old in enumerate(step.before.nodes):
        for c in step.before.config.components:
            held = tier_of(old.placement(c), "device")
            parts = step.fragments[b]
            if held is not None and value(step.after, parts, c, "device") is None:
                yield Fault(f"{step.before.name(b)} lost its {c} data on device", parts)


def _copies_a_state(step: Step) -> bool:
    """An older match copies the state at once, and a load-back zeroes the slot it takes for it."""
    takes = isinstance(step.operation, op.Admit | op.Prepare | op.Proceed | op.LoadBack)
    return takes and COPIES_STATES_AT_ONCE in step.after.options


def _waits_for_its_state(step: Step) -> bool:
    """An abort first lets a load finish that would write into the slot it gives back."""
    if not isinstance(step.operation, op.Abort | op.Retract):
        return False
    name = step.operation.request
    own = [r.state_slot for r in step.before.requests if r.name == name]
    waiting = [m for t in step.before.loads if t.stage != "executed" for m in t.moves]
    return any(m.component == MAMBA and set(own) & set(m.device) for m in waiting)


def _ends_a_turn(step: Step) -> bool:
    """The forward pass that is under way then computes the token sampled last."""
    return isinstance(step.operation, op.Finish) and step.is_of_turn


def _waits_for_copies(step: Step) -> bool:
    return step.before.config.writes_back and writes_host(step)


class _Key:
    """What an inserting operation hands to the tree."""

    def __init__(self, namespace: str, tokens: tuple[int, ...], priority: int) -> None:
        self.namespace, self.tokens, self.priority = namespace, tokens, priority


def _inserted(step: Step) -> _Key | None:
    o = step.operation
    if isinstance(o, op.Insert):
        return _Key(o.namespace, aligned(step.before, o.tokens), o.priority)
    if not isinstance(o, op.Prefill | op.Finish):
        return None
    view = step.after if isinstance(o, op.Prefill) else step.before
    r = next((r for r in view.requests if r.name == o.request), None)
    if r is None:
        return None
    end = r.committed
    if view.config.tracks_states:
        old = next((x for x in step.before.requests if x.name == o.request), r)
        end = inserted_tokens(step, old)
    return _Key(r.namespace, aligned(view, r.tokens[:end]), r.priority)


def _id(view: View, index: int) -> int:
    """A node's id; the root and detached nodes are their own (negative) names."""
    return view.nodes[index].id if 0 <= index < len(view.nodes) else min(index, -1)


def _ids(view: View, indices: tuple[int, ...]) -> list[int]:
    return [_id(view, i) for i in indices]


def _waiting_changed(step: Step) -> Iterator[Fault]:
    """Candidates as they are, but for the index of their last node."""
    before, after = (
        [
            (c.name, c.namespace, c.tokens, c.priority, _id(v, c.last_node), c.best_match)
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
        _id(view, r.last_node),
        *_state(r),
    )


def _state(r: Request) -> tuple[Any, ...]:
    own = (r.state_slot, r.state_source, r.zero_state)
    return (*own, r.tracking_slots, r.tracked, r.tracked_slot, r.branching)


def _receipts(view: View) -> Counter[tuple[Any, ...]]:
    return Counter(_receipt(view, r) for r in view.receipts)


def _receipt(view: View, r: Receipt) -> tuple[Any, ...]:
    return (r.tier, r.owner, r.name, _id(view, r.anchor), r.full_start, r.swa_start, r.state)


def _transfer(view: View, t: Transfer, *, staged: bool) -> tuple[Any, ...]:
    """A transfer without the nodes that it covers, which a split makes more."""
    return (t.id, _id(view, t.node), t.moves, *((t.stage, t.batch) if staged else ()))


def _by_creation(view: View) -> dict[int, int]:
    return {n.id: rank for n, rank in zip(view.nodes, view.creation_rank, strict=False)}


def _moved(
    before: tuple[Transfer, ...], after: tuple[Transfer, ...], tier: str
) -> dict[str, set[int]]:
    """Component -> slots of a tier that transfers new in this step cover."""
    known = {t.id for t in before}
    slots: dict[str, set[int]] = {}
    for t in after:
        for m in () if t.id in known else t.moves:
            slots.setdefault(m.component, set()).update(m.host if tier == "host" else m.device)
    return slots


def _appeared(n: Node, old: Node | None, component: str, tier: str) -> tuple[int, ...]:
    had = tier_of(old.placement(component), tier) if old is not None else None
    has = tier_of(n.placement(component), tier)
    return has if has is not None and had is None else ()
