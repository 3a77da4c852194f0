"""Small lies about a state or a step, of the kinds that broken caches tell.

Each takes a snapshot (or an outcome) and a chooser and returns a changed one, or the same if it
has nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import DETACHED, Node, Placement, Receipt, Snapshot, Transfer
from radixproof.stateful_tests.choose import RandomChooser

Corruption = Callable[[Snapshot, RandomChooser], Snapshot]


def _node(s: Snapshot, choose: RandomChooser, change: Callable[[Node], Node]) -> Snapshot:
    if not s.nodes:
        return s
    i = choose.integer(0, len(s.nodes) - 1)
    return replace(s, nodes=(*s.nodes[:i], change(s.nodes[i]), *s.nodes[i + 1 :]))


def _placed(
    s: Snapshot, choose: RandomChooser, change: Callable[[Placement], Placement]
) -> Snapshot:
    part = choose.pick(s.config.components)

    def changed(n: Node) -> Node:
        p = n.placement(part)
        assert p is not None
        return replace(n, **{part: change(p)})  # type: ignore[arg-type]

    return _node(s, choose, changed)


def drop_device(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, device=None))


def drop_host(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, host=None))


def swap_tier(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, device=p.host, host=p.device))


def invent_host(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, host=p.host or p.device))


def shorten_value(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, device=p.device and p.device[:-1]))


def shift_slot(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(
        s, choose, lambda p: replace(p, device=p.device and (p.device[0] + 1, *p.device[1:]))
    )


def shift_host_slot(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _placed(s, choose, lambda p: replace(p, host=p.host and (p.host[0] + 1, *p.host[1:])))


def change_lock(s: Snapshot, choose: RandomChooser) -> Snapshot:
    step = choose.pick((1, -1, 3))
    return _placed(s, choose, lambda p: replace(p, lock=p.lock + step))


def change_host_lock(s: Snapshot, choose: RandomChooser) -> Snapshot:
    step = choose.pick((1, -1))
    return _placed(s, choose, lambda p: replace(p, host_lock=p.host_lock + step))


def change_hits(s: Snapshot, choose: RandomChooser) -> Snapshot:
    step = choose.pick((1, 2, -1))
    return _node(s, choose, lambda n: replace(n, hit=n.hit + step))


def change_priority(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _node(s, choose, lambda n: replace(n, priority=n.priority + 2))


def change_mark(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _node(s, choose, lambda n: replace(n, pending=None if n.pending is not None else 77))


def change_id(s: Snapshot, choose: RandomChooser) -> Snapshot:
    if len(s.nodes) < 2:
        return s
    i = choose.integer(0, len(s.nodes) - 2)
    a, b = s.nodes[i], s.nodes[i + 1]
    swapped = (replace(a, id=b.id), replace(b, id=a.id))
    return replace(s, nodes=(*s.nodes[:i], *swapped, *s.nodes[i + 2 :]))


def change_key(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _node(s, choose, lambda n: replace(n, key=n.key[:-1]))


def change_label(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _node(s, choose, lambda n: replace(n, label=(5,)))


def change_parent_pointer(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _node(s, choose, lambda n: replace(n, parent_pointer=n.parent_pointer - 1))


def remove_last_node(s: Snapshot, choose: RandomChooser) -> Snapshot:
    """With everything that refers to it, as a wrong deletion would."""
    if not s.nodes:
        return s
    last = len(s.nodes) - 1

    def without(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i for i in indices if i != last)

    def lost(i: int) -> int:
        return DETACHED if i == last else i

    def transfer(t: Transfer) -> Transfer:
        return replace(t, node=lost(t.node), nodes=tuple(map(lost, t.nodes)))

    return replace(
        s,
        writes=tuple(map(transfer, s.writes)),
        loads=tuple(map(transfer, s.loads)),
        receipts=tuple(replace(r, anchor=lost(r.anchor)) for r in s.receipts),
        requests=tuple(replace(r, last_node=lost(r.last_node)) for r in s.requests),
        candidates=tuple(replace(c, last_node=lost(c.last_node)) for c in s.candidates),
        nodes=s.nodes[:-1],
        device_leaves=without(s.device_leaves),
        host_leaves=without(s.host_leaves),
        access_order=without(s.access_order),
        creation_rank=s.creation_rank[:-1],
        lru={c: without(x) for c, x in s.lru.items()},
        host_lru={c: without(x) for c, x in s.host_lru.items()},
    )


def change_leaf_sets(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(("device_leaves", "host_leaves"))
    leaves: tuple[int, ...] = getattr(s, name)
    extra = choose.integer(0, len(s.nodes) - 1) if s.nodes else DETACHED
    changed = leaves[1:] if leaves and choose.chance(50) else (*leaves, extra)
    return replace(s, **{name: changed})  # type: ignore[arg-type]


def change_lists(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(("lru", "host_lru"))
    lists: dict[str, tuple[int, ...]] = dict(getattr(s, name))
    for component, order in lists.items():
        extra = choose.integer(0, len(s.nodes) - 1) if s.nodes else DETACHED
        lists[component] = order[1:] if order and choose.chance(50) else (*order, extra)
    return replace(s, **{name: lists})  # type: ignore[arg-type]


def reverse_access(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return replace(s, access_order=s.access_order[::-1], creation_rank=s.creation_rank[::-1])


def change_sizes(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(("evictable", "protected"))
    sizes = {c: n + 1 for c, n in getattr(s, name).items()}
    return replace(s, **{name: sizes})  # type: ignore[arg-type]


def change_free_list(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(tuple(s.pools))
    pool = s.pools[name]
    free = pool.free_pages[1:] if choose.chance(60) else pool.free_pages + pool.free_pages[:1]
    return replace(s, pools={**s.pools, name: replace(pool, free_pages=free)})


def change_byte(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(tuple(s.pools))
    pool = s.pools[name]
    x = choose.integer(0, len(pool.contents) - 1)
    contents = (*pool.contents[:x], -1, *pool.contents[x + 1 :])
    return replace(s, pools={**s.pools, name: replace(pool, contents=contents)})


def change_map(s: Snapshot, choose: RandomChooser) -> Snapshot:
    if not s.full_to_swa:
        return s
    x = choose.integer(1, len(s.full_to_swa) - 1)
    y = 0 if s.full_to_swa[x] else 1
    return replace(s, full_to_swa=(*s.full_to_swa[:x], y, *s.full_to_swa[x + 1 :]))


def _transfers(s: Snapshot, choose: RandomChooser, change: Callable[[Any], Any]) -> Snapshot:
    name = choose.pick(("writes", "loads"))
    queue = getattr(s, name)
    if not queue:
        return s
    i = choose.integer(0, len(queue) - 1)
    changed = (*queue[:i], *change(queue[i]), *queue[i + 1 :])
    return replace(s, **{name: changed})  # type: ignore[arg-type]


def lose_transfer(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _transfers(s, choose, lambda t: ())


def double_transfer(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _transfers(s, choose, lambda t: (t, t))


def invent_transfer(s: Snapshot, choose: RandomChooser) -> Snapshot:
    if not s.nodes:
        return s
    extra = Transfer("write", 77, 0, (0,), "submitted", len(s.writes), ())
    return replace(s, writes=(*s.writes, extra))


def change_stage(s: Snapshot, choose: RandomChooser) -> Snapshot:
    stage = choose.pick(("executed", "submitted", "queued"))
    return _transfers(s, choose, lambda t: (replace(t, stage=stage),))


def change_covered(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _transfers(s, choose, lambda t: (replace(t, nodes=t.nodes[1:], node=-2),))


def change_batch(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _transfers(s, choose, lambda t: (replace(t, batch=t.batch + 1),))


def lose_receipt(s: Snapshot, choose: RandomChooser) -> Snapshot:
    if not s.receipts:
        return s
    i = choose.integer(0, len(s.receipts) - 1)
    return replace(s, receipts=s.receipts[:i] + s.receipts[i + 1 :])


def invent_receipt(s: Snapshot, choose: RandomChooser) -> Snapshot:
    extra = Receipt("device", choose.pick(("client", "request")), "r1", -1, None, None)
    return replace(s, receipts=(*s.receipts, extra))


def misplace_receipt(s: Snapshot, choose: RandomChooser) -> Snapshot:
    if not s.receipts:
        return s
    i = choose.integer(0, len(s.receipts) - 1)
    lost = replace(s.receipts[i], anchor=choose.pick((-2, -1)), swa_start=None)
    return replace(s, receipts=(*s.receipts[:i], lost, *s.receipts[i + 1 :]))


def _request(s: Snapshot, choose: RandomChooser, change: Callable[[Any], Any]) -> Snapshot:
    if not s.requests:
        return s
    i = choose.integer(0, len(s.requests) - 1)
    return replace(s, requests=(*s.requests[:i], *change(s.requests[i]), *s.requests[i + 1 :]))


def lose_request(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _request(s, choose, lambda r: ())


def change_row(s: Snapshot, choose: RandomChooser) -> Snapshot:
    return _request(s, choose, lambda r: (replace(r, row=r.row[::-1] + r.row[:1]),))


def change_progress(s: Snapshot, choose: RandomChooser) -> Snapshot:
    name = choose.pick(("committed", "protected", "swa_evicted"))
    return _request(s, choose, lambda r: (replace(r, **{name: getattr(r, name) + 1}),))


def change_state(s: Snapshot, choose: RandomChooser) -> Snapshot:
    """Another slot to own or to copy from, or one to be zeroed."""
    what = choose.pick(("state_slot", "state_source", "zero_state"))

    def changed(r: Any) -> tuple[Any]:
        old = getattr(r, what)
        return (replace(r, **{what: not old if what == "zero_state" else (old or 0) + 1}),)

    return _request(s, choose, changed) if s.config.has_mamba else s


def change_candidate(s: Snapshot, choose: RandomChooser) -> Snapshot:
    """A request that waits is lost, or waits on something else."""
    if not s.candidates:
        return s
    first, *rest = s.candidates
    changed = (
        replace(first, tokens=first.tokens[:-1]),
        replace(first, best_match=first.best_match + 1),
        replace(first, last_node=DETACHED),
        replace(first, name="r9"),
    )
    left = (*rest,) if choose.chance(30) else (choose.pick(changed), *rest)
    return replace(s, candidates=left)


def invent_node(s: Snapshot, choose: RandomChooser) -> Snapshot:
    """Where there is none, as in a cache that is switched off."""
    if s.nodes:
        return s
    key = (1,) * s.config.page_size
    data = Placement(device=tuple(range(s.config.page_size, 2 * s.config.page_size)))
    node = Node("", key, key, key, -1, -1, 7, data, None, 0, 0, None)
    return replace(s, nodes=(node,))


def change_events(s: Snapshot, choose: RandomChooser) -> Snapshot:
    """The last event is lost, told twice, or told first."""
    if not s.events:
        return s
    changed = (s.events[:-1], (*s.events, s.events[-1]), s.events[::-1])
    return replace(s, events=choose.pick(changed))


def change_armed(s: Snapshot, choose: RandomChooser) -> Snapshot:
    pool = choose.pick(tuple(s.pools))
    armed = dict(s.armed_failures)
    armed[pool] = armed.get(pool, 0) + 1
    return replace(s, armed_failures=armed)


CORRUPTIONS: dict[str, Corruption] = {
    f.__name__: f
    for f in (
        drop_device,
        drop_host,
        swap_tier,
        invent_host,
        shorten_value,
        shift_slot,
        shift_host_slot,
        change_lock,
        change_host_lock,
        change_hits,
        change_priority,
        change_mark,
        change_id,
        change_key,
        change_label,
        change_parent_pointer,
        remove_last_node,
        change_leaf_sets,
        change_lists,
        reverse_access,
        change_sizes,
        change_free_list,
        change_byte,
        change_map,
        lose_transfer,
        double_transfer,
        invent_transfer,
        change_stage,
        change_covered,
        change_batch,
        lose_receipt,
        invent_receipt,
        misplace_receipt,
        lose_request,
        change_row,
        change_progress,
        change_state,
        change_candidate,
        change_events,
        invent_node,
        change_armed,
    )
}


def lie(outcome: Outcome, choose: RandomChooser) -> Outcome:
    """The outcome with one number or the slots changed."""
    if outcome.slots and choose.chance(30):
        return replace(outcome, slots=outcome.slots[:-1])
    if not outcome.values:
        return outcome
    name = choose.pick(sorted(outcome.values))
    return replace(outcome, values={**outcome.values, name: outcome.values[name] + 1})
