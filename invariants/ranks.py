"""Several ranks of one cache: the same tree, the same decisions, the same collectives (I-41).

The next forward pass takes the same prefix on every rank for granted. What may differ are slot
numbers, which each rank's own kernels read, and which copies have run (domain.md 6.13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, zip_longest
from typing import Any

from radixproof.invariants.catalogue import RanksStep, ranks_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.outcome import Outcome
from radixproof.model.ranks import RECV, SEND, Collective
from radixproof.model.snapshot import Node, Pool, Transfer

_UNHEARD = (op.Insert, op.Evict, op.EvictHost, op.StartLoading, op.Observe)
"""No forward pass rests on the answer: it says how much was done, or was there already."""


@ranks_invariant(
    "I-41",
    formula="for all ranks r: kind, group, reduction, shape and type of collectives(r) ="
    " collectives(0), in order; for all ranks r, s: receives(s from r) = sends(r to s), in order",
    without_it="A collective that one rank does not enter, or takes for another, hangs all of them"
    " or mixes up their numbers.",
    taught_by="27489, M-16",
)
def ranks_call_the_same_collectives(step: RanksStep) -> Iterator[Fault]:
    """Every rank makes the same collective calls in the same order, and receives what is sent."""
    first, *others = ([c for c in calls if c.peer is None] for calls in step.calls)
    for rank, calls in enumerate(others, start=1):
        for a, b in zip_longest(first, calls):
            if a != b:
                yield Fault(f"rank 0 {_called(a)}\nrank {rank} {_called(b)}")
                break

    for one, other in permutations(range(len(step.calls)), 2):
        sent = [c for c in step.calls[one] if c.kind == SEND and c.peer == other]
        got = [c for c in step.calls[other] if c.kind == RECV and c.peer == one]
        for s, r in zip_longest(sent, got):
            if s is None or r is None or not r.answers(s):
                yield Fault(f"rank {one} {_called(s)}\nrank {other} {_called(r)}")
                break


def _called(call: Collective | None) -> str:
    return "calls nothing and goes on" if call is None else f"calls {call}"


@ranks_invariant(
    "I-41",
    formula="status is equal on all ranks, and values but for {insert, evict, evict_host,"
    " start_loading, observe}",
    without_it="A forward pass with prefixes of different lengths has tensors of different shapes.",
    taught_by="U-20",
)
def ranks_answer_alike(step: RanksStep) -> Iterator[Fault]:
    """A request is told the same on every rank."""
    heard = not isinstance(step.operation, _UNHEARD)
    for rank, outcome in enumerate(step.outcomes):
        first = step.outcomes[0]
        if outcome.kind != first.kind or (heard and outcome.values != first.values):
            yield _differ(rank, outcome, first)


@ranks_invariant(
    "I-41",
    formula="op in {insert, evict, evict_host, start_loading, observe} => values are equal on all"
    " ranks",
    without_it="What one rank has given up or let go of, the others still count on.",
    taught_by="M-17; loads of 0.5.12, which are acknowledged by each rank for itself",
)
def ranks_do_as_much(step: RanksStep) -> Iterator[Fault]:
    """Inserting, evicting, submitting and acknowledging does as much on every rank."""
    if isinstance(step.operation, _UNHEARD):
        for rank, outcome in enumerate(step.outcomes):
            if outcome.values != step.outcomes[0].values:
                yield _differ(rank, outcome, step.outcomes[0])


def _differ(rank: int, outcome: Outcome, first: Outcome) -> Fault:
    told = [f"{o.kind} {dict(o.values)}" for o in (first, outcome)]
    return Fault(f"rank 0 answers {told[0]}; rank {rank} {told[1]}")


@ranks_invariant(
    "I-41",
    formula="for all ranks r: (namespace, prefix, edge, label, parent, id) of nodes(r) = nodes(0)",
    without_it="A prefix that one rank has and another has not is reused by one of them only.",
    taught_by="U-20",
)
def ranks_have_the_same_tree(step: RanksStep) -> Iterator[Fault]:
    """All ranks have the same nodes under the same parents, with the same ids."""
    first = step.after[0] if step.after else None
    for rank, view in enumerate(step.after[1:], start=1):
        assert first is not None
        for i, n in enumerate(first.nodes):
            if view.find(n.namespace, n.tokens) is None:
                yield Fault(f"rank {rank} has no {first.name(i)}", (i,))
        for i, n in enumerate(view.nodes):
            if first.find(n.namespace, n.tokens) is None:
                yield Fault(f"rank 0 has no {view.name(i)}, rank {rank} has it")
    yield from _nodes_alike(step, _shape)


def _shape(n: Node) -> dict[str, Any]:
    return {
        "edge": (n.namespace, n.tokens, n.key, n.label),
        "parent": (n.parent, n.parent_pointer),
        "id": n.id,
    }


@ranks_invariant(
    "I-41",
    formula="for all ranks r, nodes n, components c: n.c on device and on host exist on r iff on 0;"
    " taken slots of every pool are equal",
    without_it="An allocation that fails on one rank alone takes it another way than the others.",
    taught_by="U-20, 27489",
)
def ranks_hold_the_same_data(step: RanksStep) -> Iterator[Fault]:
    """What is on the device and on the host, and how much is taken, is the same on every rank."""
    yield from _nodes_alike(step, _held)
    yield from _alike(step, lambda v: {f"taken of {n}": _taken(p) for n, p in v.pools.items()})


def _taken(pool: Pool) -> int:
    """Stages may have pools of different sizes."""
    return pool.slots - pool.free_slots


def _held(n: Node) -> dict[str, Any]:
    placed = (("FULL", n.full), ("SWA", n.swa), ("MAMBA", n.mamba))
    parts = [(name, p) for name, p in placed if p is not None]
    on_device = {f"{name} on device": p.device is not None for name, p in parts}
    return on_device | {f"{name} on host": p.host is not None for name, p in parts}


@ranks_invariant(
    "I-41",
    formula="for all ranks r, nodes n, components c: n.c.lock, n.c.hlock and the live receipts are"
    " those of rank 0",
    without_it="What is locked on one rank only is evicted on the others.",
    taught_by="loads of 0.5.12, which are acknowledged by each rank for itself",
)
def ranks_hold_the_same_locks(step: RanksStep) -> Iterator[Fault]:
    """Every node is locked as often, and by the same holders, on every rank."""
    yield from _nodes_alike(step, _locks)
    yield from _alike(step, lambda v: {"receipts": v.receipts})


def _locks(n: Node) -> dict[str, Any]:
    placed = (("FULL", n.full), ("SWA", n.swa), ("MAMBA", n.mamba))
    return {f"locks on {c}": (p.lock, p.host_lock) for c, p in placed if p is not None}


@ranks_invariant(
    "I-41",
    formula="for all ranks r: leaf sets, recency lists, order of access and creation, hits,"
    " priorities and sizes are those of rank 0",
    without_it="The next eviction takes different victims.",
    taught_by="I-42: a tie that is broken by an address",
)
def ranks_evict_in_the_same_order(step: RanksStep) -> Iterator[Fault]:
    """What decides who is evicted next is the same on every rank."""
    yield from _alike(step, _order)
    yield from _nodes_alike(step, lambda n: {"hits": n.hit, "priority": n.priority})


def _order(v: View) -> dict[str, Any]:
    return {
        "device leaves": v.device_leaves,
        "host leaves": v.host_leaves,
        "order of access": v.access_order,
        "order of creation": v.creation_rank,
        "recency": dict(v.lru),
        "recency on the host": dict(v.host_lru),
        "evictable": dict(v.evictable),
        "protected": dict(v.protected),
    }


@ranks_invariant(
    "I-41",
    formula="for all ranks r: queues of copies are those of rank 0, but for which have run",
    without_it="Acknowledgements are counted, not named: the n-th must be the same on all ranks.",
    taught_by="U-20, I-34",
)
def ranks_await_the_same_copies(step: RanksStep) -> Iterator[Fault]:
    """The copies that are queued or not acknowledged are the same on every rank, in one order."""
    yield from _alike(step, _copies)


def _copies(v: View) -> dict[str, Any]:
    place = {t.id: i for i, t in enumerate(v.writes)}
    marks = [None if n.pending is None else place.get(n.pending, -1) for n in v.nodes]
    return {
        "backups": tuple(map(_copy, v.writes)),
        "loads": tuple(map(_copy, v.loads)),
        "pending marks": marks,
    }


def _copy(t: Transfer) -> tuple[Any, ...]:
    moved = tuple((m.component, len(m.device)) for m in t.moves)
    return (t.node, t.nodes, t.stage == "queued", t.batch, moved)


@ranks_invariant(
    "I-41",
    formula="for all ranks r: requests and candidates are those of rank 0, but for slot numbers",
    without_it="A batch is the same requests, equally far, on every rank.",
    taught_by="U-20",
)
def ranks_run_the_same_requests(step: RanksStep) -> Iterator[Fault]:
    """Requests are as far, protect as much and end at the same node on every rank."""
    yield from _alike(step, _requests)


def _requests(v: View) -> dict[str, Any]:
    told = tuple(
        replace(r, row=(len(r.row),), state_slot=None, state_source=None) for r in v.requests
    )
    return {"requests": told, "waiting requests": v.candidates}


# Comparing


def _alike(step: RanksStep, of: Callable[[View], dict[str, Any]]) -> Iterator[Fault]:
    """Named values of a state, on each rank and on rank 0."""
    wanted = of(step.after[0]) if step.after else {}
    for rank, view in enumerate(step.after[1:], start=1):
        found = of(view)
        for name, value in wanted.items():
            if found[name] != value:
                a, b = _apart(value, found[name])
                yield Fault(f"{name}: {a} on rank 0, {b} on rank {rank}")


def _apart(a: Any, b: Any) -> tuple[Any, Any]:
    """Where two lists begin to differ; other values whole."""
    if not (isinstance(a, tuple) and isinstance(b, tuple)):
        return a, b
    pairs = zip_longest(a, b, fillvalue="nothing more")
    return next((x, y) for x, y in pairs if x != y)


def _nodes_alike(step: RanksStep, of: Callable[[Node], dict[str, Any]]) -> Iterator[Fault]:
    """Named values of every prefix that both ranks have a node for."""
    for rank, i, node, other in _paired(step):
        a, b = of(node), of(other)
        for name in a:
            if a[name] != b[name]:
                told = f"{name} {a[name]} on rank 0, {b[name]} on rank {rank}"
                yield Fault(f"{step.after[0].name(i)}: {told}", (i,))


def _paired(step: RanksStep) -> Iterator[tuple[int, int, Node, Node]]:
    """Rank, index on rank 0, the node there and on that rank."""
    for rank, view in enumerate(step.after[1:], start=1):
        for i, node in enumerate(step.after[0].nodes):
            there = view.find(node.namespace, node.tokens)
            if there is not None:
                yield rank, i, node, view.nodes[there]
