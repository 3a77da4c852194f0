"""The relation searched a frontier at a time: states are rows of one numpy array.

A rule is two bit operations and a comparison over the whole frontier, an invariant likewise. What
was seen is one sorted array, merged with each new level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radixproof.stateful_tests.explore.residency.plain import Count
from radixproof.stateful_tests.explore.residency.relation import Residency

States = NDArray[np.uint64]
ROWS = 1 << 16
"""States that are expanded at once; bounds the memory of a level, and fits the cache."""


def search(relation: Residency) -> Count:
    """As ``plain.reachable``, for relations of at most 64 bits."""
    seen = frontier = np.zeros(1, dtype=np.uint64)
    transitions = depth = 0
    broken: set[str] = set()
    while len(frontier):
        broken.update(violated(relation, frontier))
        fresh: list[States] = []
        for begin in range(0, len(frontier), ROWS):
            after, count = successors(relation, frontier[begin : begin + ROWS])
            transitions += count
            fresh.append(without(after, seen))
        frontier = np.unique(np.concatenate(fresh))
        seen = merged(seen, frontier)
        depth += bool(len(frontier))
    return Count(len(seen), transitions, depth, tuple(sorted(broken)))


def successors(relation: Residency, states: States) -> tuple[States, int]:
    """What lies one rule beyond, each once and sorted; and how many transitions there are."""
    reached: list[States] = []
    count = 0
    for rule in relation.rules:
        needs, mask = np.uint64(rule.guard.needs), np.uint64(rule.guard.needs | rule.guard.lacks)
        enabled = states[(states & mask) == needs]
        count += len(enabled)
        reached.append((enabled | np.uint64(rule.sets)) & ~np.uint64(rule.clears))
    return np.unique(np.concatenate(reached)), count


def violated(relation: Residency, states: States) -> list[str]:
    """Names of the invariants that some state violates."""
    return [
        p.name
        for p in relation.never
        if ((states & np.uint64(p.needs | p.lacks)) == np.uint64(p.needs)).any()
    ]


def without(states: States, known: States) -> States:
    """Those of some sorted states that are not among other sorted states."""
    places = np.searchsorted(known, states)
    places[places == len(known)] = 0
    fresh: States = states[known[places] != states]
    return fresh


def merged(left: States, right: States) -> States:
    """Two sorted arrays as one."""
    return np.insert(left, np.searchsorted(left, right), right)
