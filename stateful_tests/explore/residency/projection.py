"""The specification's states as states of the relation, and the scope where both are the same.

The abstraction is exact there: the images of all states of the specification are the reachable
states of the relation, and every edge is a step of the relation, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.explore.every_edge import Edge, every_edge
from radixproof.stateful_tests.explore.residency.relation import (
    DEVICE,
    END,
    HOST,
    LOADING,
    WRITING,
    Prefix,
    Residency,
)
from radixproof.stateful_tests.explore.scope import Scope

STEPS: Mapping[type[op.Operation], tuple[str, ...]] = {
    op.Match: ("split",),
    op.Insert: ("insert",),
    op.Evict: ("demote", "delete"),
    op.EvictHost: ("evict_host",),
    op.LoadBack: ("load_back",),
    op.Observe: ("acknowledge_write", "acknowledge_load"),
    op.FailAllocation: ("fail",),
    op.StartLoading: (),
    op.Execute: (),
}
"""What an operation of the specification may be in the relation; an observation, several."""


def shared_scope(alphabet: int, longest: int) -> Scope:
    """Where the relation for the same prefixes is exact: room for everything, FULL alone."""
    room = len(Residency.complete(alphabet, longest).prefixes) + longest
    return Scope(
        "shared",
        CacheConfig(
            components=(FULL,),
            page_size=1,
            full_slots=room,
            swa_slots=0,
            host_full_slots=room,
            host_swa_slots=0,
        ),
        operations=tuple(op.NAMES[kind] for kind in STEPS),
        alphabet=alphabet,
        longest=longest,
        requests=0,
        holders=0,
        failures=1,
        failing=("host_full",),
        amounts=(1,),
        limits=(None,),
    )


@dataclass(frozen=True, slots=True)
class Projected:
    """The specification on the shared scope, seen through the abstraction."""

    states: frozenset[int]
    """The images of all its states, under every renaming of tokens."""
    edges: int
    strays: tuple[Edge, ...]
    """Edges that are no step of the relation; none, if the abstraction is right."""
    operations: frozenset[type[op.Operation]]


def project(alphabet: int, longest: int) -> Projected:
    """Every edge of the shared scope, held against the relation for the same prefixes."""
    relation = Residency.complete(alphabet, longest)
    images, strays, operations, edges = {0}, [], set(), 0
    for edge in every_edge(shared_scope(alphabet, longest)):
        before, after = image(relation, edge.before), image(relation, edge.after)
        images.add(after)
        operations.add(type(edge.operation))
        edges += 1
        if not follows(relation, before, edge.operation, after):
            strays.append(edge)
    states = frozenset(s for i in images for s in renamed(relation, i))
    return Projected(states, edges, tuple(strays), frozenset(operations))


def image(relation: Residency, state: Snapshot) -> int:
    """A state of the specification as a state of the relation."""
    bits = relation.armed if state.armed_failures.get("host_full") else 0
    loading = {t.node for t in state.loads}
    for i, n in enumerate(state.nodes):
        pages = [n.tokens[:end] for end in range(n.start + 1, n.end + 1)]
        letters = DEVICE if n.full.device is not None else ""
        letters += HOST if n.full.host is not None else ""
        letters += WRITING if n.pending is not None else ""
        bits |= relation.of(letters, pages)
        bits |= relation.of(END + (LOADING if i in loading else ""), [n.tokens])
    return bits


def renamed(relation: Residency, state: int) -> Iterator[int]:
    """A state under every renaming of tokens; they are the same to the specification."""
    tokens = sorted({t for p in relation.prefixes for t in p})
    for names in permutations(tokens):
        name = dict(zip(tokens, names, strict=True))
        yield sum(
            1 << relation.bits[letter, _spell(name, p)]
            for (letter, p), number in relation.bits.items()
            if state >> number & 1
        ) | (state & relation.armed)


def follows(relation: Residency, before: int, operation: op.Operation, after: int) -> bool:
    """Whether the relation allows what an operation did."""
    rules = [rule for rule in relation.rules if rule.name in STEPS[type(operation)]]
    several = isinstance(operation, op.Observe)
    reached, level = {before}, {before}
    while level and after not in reached:
        level = {r.apply(s) for s in level for r in rules if r.guard.matches(s)} - reached
        reached |= level
        if not several:
            break
    return after in reached


def _spell(name: Mapping[int, int], prefix: Prefix) -> Prefix:
    return tuple(name[t] for t in prefix)
