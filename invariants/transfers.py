"""Copies in flight (domain.md 7.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, WRITE_BACK, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import MAMBA
from radixproof.model.options import BACKS_UP_WHAT_IS_REGAINED, BACKS_UP_WINDOWS
from radixproof.model.snapshot import Slots, Transfer


@state_invariant(
    "I-30",
    formula="all writes w: nodes(w) is a path to its lock node, locked by w's receipt in FULL and"
    " in each component that it copies, with the very device and host slots that the copy reads"
    " and writes",
    without_it="The copy would read slots that were freed, or publish what was never copied.",
    taught_by="M-2, M-3, M-1d",
    holds_under=WITH_HOST,
)
def pending_writes_keep_their_source(view: View) -> Iterator[Fault]:
    """A pending backup's nodes are locked and still hold the slots it copies between."""
    nodes = view.nodes
    holders = Counter(r.anchor for r in view.receipts if (r.owner, r.tier) == ("write", "device"))
    for t in view.writes:
        at = tuple(i for i in t.nodes if i >= 0)
        if not t.nodes or len(at) < len(t.nodes) or t.nodes[-1] != t.node:
            yield Fault(f"write {t.id} does not cover its node {view.name(t.node)}", at)
            continue
        if holders[t.node] < 1:
            yield Fault(f"write {t.id} holds no lock on {view.name(t.node)}", at)
        path = set(view.path(t.node))
        since = nodes[t.nodes[0]].start
        run = {i for i in path if nodes[i].start >= since}
        gaps = run - set(at) if BACKS_UP_WINDOWS not in view.options else set()
        if gaps or not set(at) <= path:
            yield Fault(f"the nodes of write {t.id} are no path", at)
        for i in at:
            if nodes[i].full.lock < 1:
                yield Fault(f"{view.name(i)} is not locked while write {t.id} copies it", (i,))
        if BACKS_UP_WINDOWS in view.options:
            yield from _copies_within_the_path(view, t)
            continue
        yield from _unlocked(view, t)
        for m in t.moves:
            if _slots(view, t, m.component, "device") != m.device:
                yield Fault(f"write {t.id} copies {m.component} slots that its nodes left", at)
            if _slots(view, t, m.component, "host") != m.host:
                yield Fault(f"write {t.id} fills host slots that its nodes do not have", at)


def _unlocked(view: View, t: Transfer) -> Iterator[Fault]:
    """Nodes whose data a transfer copies, and which nobody keeps from losing it."""
    for m in t.moves:
        for i in t.nodes if m.component != MAMBA else (t.node,):
            p = view.nodes[i].placement(m.component)
            moved = p is not None and p.device is not None and set(p.device) & set(m.device)
            if p is not None and moved and p.lock < 1:
                told = f"{m.component} data of {view.name(i)} is not locked for {t.stream} {t.id}"
                yield Fault(told, (i,))


def _copies_within_the_path(view: View, t: Transfer) -> Iterator[Fault]:
    """What such a write copies belongs to nodes of the path, slot by slot, and is locked."""
    for m in t.moves:
        pairs: dict[int, int] = {}
        for i in view.path(t.node):
            p = view.nodes[i].placement(m.component)
            if p is not None and p.lock and p.device is not None and p.host is not None:
                pairs.update(zip(p.device, p.host, strict=False))
        if any(pairs.get(d) != h for d, h in zip(m.device, m.host, strict=True)):
            yield Fault(f"write {t.id} copies {m.component} slots that its path left", (t.node,))


@state_invariant(
    "I-30",
    formula="write-back => writes = {} (backs-up-what-is-regained: all are locked)",
    without_it="A leaf is demoted only after its copy ran: until then its slots are being read.",
    taught_by="M-40",
    holds_under=WRITE_BACK,
)
def write_back_waits_for_its_copies(view: View) -> Iterator[Fault]:
    """Under write-back no backup is pending between operations."""
    if not view.config.writes_back:
        return
    pending = [t.node for t in view.writes]
    if BACKS_UP_WHAT_IS_REGAINED in view.options:
        locked = {r.anchor for r in view.receipts if (r.owner, r.tier) == ("write", "device")}
        pending = [i for i in pending if i not in locked]
    if pending:
        yield Fault(f"{len(pending)} backups are pending under write-back", tuple(pending))


@state_invariant(
    "I-31",
    formula="all n: n.pending = a <=> n in nodes(write a)",
    without_it="A split finds the write through the mark; without it a part is never acknowledged.",
    taught_by="SGLang 27072, M-2, M-22",
    holds_under=WITH_HOST,
)
def pending_marks_are_exact(view: View) -> Iterator[Fault]:
    """A node is marked pending exactly while a write covers it, with that write's id."""
    covering = {i: t.id for t in view.writes for i in t.nodes}
    for i, n in enumerate(view.nodes):
        if n.pending != covering.get(i):
            yield Fault(f"{view.name(i)} is marked {n.pending}, covered by {covering.get(i)}", (i,))


@state_invariant(
    "I-32",
    formula="all loads l: target in N, both receipts live, holding its state if l moves one, its"
    " nodes on device, locked in each component that it moves, their host and device slots those"
    " the copy moves",
    without_it="The copy would read reused host slots or write into somebody's device slots.",
    taught_by="M-14, M-23",
    holds_under=WITH_HOST,
)
def pending_loads_keep_both_ends(view: View) -> Iterator[Fault]:
    """A pending load's target is locked on both tiers and its nodes keep their slots."""
    nodes = view.nodes
    receipts = [r for r in view.receipts if r.owner == "load"]
    held = Counter((r.anchor, r.tier) for r in receipts)
    with_state = Counter((r.anchor, r.tier) for r in receipts if r.state)
    for t in view.loads:
        if t.node < 0 or any(i < 0 for i in t.nodes):
            yield Fault(f"load {t.id} refers to a deleted node")
            continue
        for tier in view.load_locks:
            if not held[t.node, tier]:
                yield Fault(f"load {t.id} holds no {tier} lock on {view.name(t.node)}", (t.node,))
            elif any(m.component == MAMBA for m in t.moves) and not with_state[t.node, tier]:
                yield Fault(f"load {t.id} holds no {tier} lock on its state", (t.node,))
        for i in t.nodes:
            if nodes[i].full.device is None or nodes[i].full.lock < 1:
                yield Fault(f"{view.name(i)} is not kept for load {t.id}", (i,))
        yield from _unlocked(view, t)
        for m in t.moves:
            kept = _states_of_requests(view, t) if m.component == MAMBA else set()
            for i in t.nodes:
                p = nodes[i].placement(m.component)
                if p is not None and p.device is not None and p.host is not None:
                    kept.update(zip(p.device, p.host, strict=False))
            pairs = list(zip(m.device, m.host, strict=False))
            if m.component == MAMBA and t.stage == "executed":
                pairs = pairs[:1]  # what a request got is its own affair from now on
            if not set(pairs) <= kept:
                yield Fault(f"load {t.id} moves {m.component} slots that its nodes left", t.nodes)


@state_invariant(
    "I-33",
    formula="all n: |{writes covering n}| <= 1 and |{loads with target n}| <= 1",
    without_it="Ids double as acknowledgements: the first ack would end both.",
    taught_by="U-25 of domain.md 12",
    holds_under=WITH_HOST,
)
def nodes_have_one_transfer_per_direction(view: View) -> Iterator[Fault]:
    """A node is in at most one pending write and the target of at most one pending load."""
    written = Counter(i for t in view.writes for i in t.nodes)
    loading = Counter(t.node for t in view.loads)
    for i, count in (written | loading).items():
        if count > 1:
            yield Fault(f"{view.name(i)} is in {count} transfers of one direction", (i,))


@state_invariant(
    "I-34",
    formula="each queue: batches count up from 0, executed first, queued last, ids distinct",
    without_it="Ranks agree on a number of finished heads; out of order it counts other copies.",
    taught_by="M-16, M-17",
    holds_under=WITH_HOST,
)
def acks_are_in_submission_order(view: View) -> Iterator[Fault]:
    """Ack queues are in submission order, and what ran comes before what did not."""
    order = {"executed": 0, "submitted": 1, "queued": 2}
    for name, queue in (("write", view.writes), ("load", view.loads)):
        stages = [order.get(t.stage, 3) for t in queue]
        if stages != sorted(stages) or 3 in stages:
            yield Fault(f"the {name} queue is out of order: {[t.stage for t in queue]}")
        batches = [t.batch for t in queue if t.stage != "queued"]
        if batches != sorted(batches) or set(batches) != set(range(len(set(batches)))):
            yield Fault(f"the {name} queue has batches {batches}")
        if len({t.id for t in queue}) != len(queue):
            yield Fault(f"an id stands twice in the {name} queue")


def _states_of_requests(view: View, t: Transfer) -> set[tuple[int, int]]:
    """A load brings a node's state to a request as well, into the request's own slot."""
    target = view.nodes[t.node].mamba
    host = target.host if target is not None and target.host is not None else ()
    own = [r.state_slot for r in view.requests if r.state_slot is not None]
    return {(x, y) for x in own for y in host}


def _slots(view: View, t: Transfer, component: str, tier: str) -> Slots | None:
    """What the nodes of a transfer hold on one tier, in token order; a state, its lock node."""
    slots: list[int] = []
    for i in t.nodes if component != MAMBA else (t.node,):
        p = view.nodes[i].placement(component)
        part = None if p is None else p.device if tier == "device" else p.host
        if part is None:
            return None
        slots += part
    return tuple(slots)
