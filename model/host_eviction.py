"""Freeing host memory (domain.md 5.5, 5.6, 6.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from radixproof.model.blocks import CPU
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.events import emit_removed
from radixproof.model.state import HOST, State
from radixproof.model.tree import Page, Record

Freed = Counter[str]
"""Component -> tokens freed so far on one tier, shared by the drivers of one call."""


def evict_host(state: State, count: int, component: str) -> int:
    """Free host slots of one component; how many."""
    freed: Freed = Counter()
    if component == FULL:
        drain_leaves(
            state,
            state.is_host_leaf,
            lambda: freed[FULL] < count,
            lambda leaf: evict_host_leaf(state, leaf, freed),
        )
        return freed[FULL]
    for least_recent in reversed(state.host_list(component)) if count else ():
        if freed[component] >= count:
            break
        if state.is_host_leaf(least_recent):
            evict_host_leaf(state, least_recent, freed)
        else:
            drop_internal(state, least_recent, component, freed)
    return freed[component]


def drain_leaves(
    state: State,
    is_leaf: Callable[[Page], bool],
    wanting: Callable[[], bool],
    evict_leaf: Callable[[Page], Page],
) -> None:
    """The leaf that the strategy ranks lowest first; a parent that becomes a leaf joins in.

    Each leaf is tried once: one that cannot be evicted stays, and so does its parent.
    """
    if not wanting():
        return
    candidates = [n for n in state.tree.members if is_leaf(n)]
    while wanting() and candidates:
        leaf = min(candidates, key=lambda n: eviction_rank(state.config.eviction_policy, n.node))
        candidates.remove(leaf)
        parent = evict_leaf(leaf)
        if is_leaf(parent):
            candidates.append(parent)


def eviction_rank(policy: str, n: Record) -> tuple[int, tuple[int, int]]:
    """What a strategy compares; ties go to the leaf that was accessed earlier (domain.md 3)."""
    ranks = {
        "lru": 0,
        "mru": -n.accessed[0],
        "lfu": n.hit,
        "slru": int(n.hit >= 2),
        "fifo": n.created,
        "filo": -n.created,
        "priority": n.priority,
    }
    later_first = (0, -n.accessed[1]) if policy == "mru" else n.accessed
    return ranks[policy], later_first


def evict_host_leaf(state: State, leaf: Page, freed: Freed) -> Page:
    """The last copy of a prefix goes, and its node; the parent.

    Nothing is pruned above it: a parent has FULL data on some tier (I-7).
    """
    parent = state.tree.parent(leaf)
    state.tally["host tokens evicted"] += state.tree.length(leaf)
    emit_removed(state, CPU, state.tree.pages(leaf))
    for component in state.config.components:
        if f"host_{component}" in leaf.held:
            drop_host(state, leaf, component, freed)
    state.tree.unlink(leaf)
    return parent


def drop_internal(state: State, node: Page, component: str, freed: Freed) -> None:
    """A node that stays loses one component on host; a state goes with its window (5.6)."""
    drop_host(state, node, component, freed)
    if component == SWA and "host_mamba" in node.held:
        assert not state.lock_count(node, MAMBA, HOST), "who locks a state locks its window"
        drop_host(state, node, MAMBA, freed)


def drop_host(state: State, node: Page, component: str, freed: Freed) -> None:
    pool = f"host_{component}"
    slots = state.tree.release(node, pool)
    state.memory.free(pool, slots)
    freed[component] += len(slots)
