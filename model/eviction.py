"""Freeing device and host memory (domain.md 5.5, 5.6, 6.4, 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from radixproof.model.config import FULL, SWA
from radixproof.model.state import DEVICE, State
from radixproof.model.tree import Page


@dataclass(slots=True)
class Freed:
    """Tokens freed so far on one tier, shared by the drivers of one call."""

    full: int = 0
    swa: int = 0


def evict(state: State, full: int, swa: int) -> Freed:
    """Free device tokens, as many as asked for or as can be."""
    freed = Freed()
    _drain_leaves(
        state,
        state.is_device_leaf,
        lambda: freed.full < full,
        lambda leaf: evict_device_leaf(state, leaf, freed),
    )
    while freed.swa < swa:
        victims = [n for n in state.swa_list() if not state.lock_count(n, SWA, DEVICE)]
        if not victims:
            break
        least_recent = victims[-1]
        if state.is_device_leaf(least_recent):
            evict_device_leaf(state, least_recent, freed)
        else:
            drop_swa_device(state, least_recent, freed)
    return freed


def evict_host(state: State, count: int, component: str) -> int:
    """Free host slots of one component; how many."""
    freed = Freed()
    if component == FULL:
        _drain_leaves(
            state,
            state.is_host_leaf,
            lambda: freed.full < count,
            lambda leaf: evict_host_leaf(state, leaf, freed),
        )
        return freed.full
    while freed.swa < count and (victims := state.swa_host_list()):
        least_recent = victims[-1]
        if state.is_host_leaf(least_recent):
            evict_host_leaf(state, least_recent, freed)
        else:
            drop_host(state, least_recent, SWA, freed)
    return freed.swa


def _drain_leaves(
    state: State,
    is_leaf: Callable[[Page], bool],
    wanting: Callable[[], bool],
    evict_leaf: Callable[[Page], Page],
) -> None:
    """Least recently accessed leaf first; a parent that becomes a leaf joins the candidates."""
    if not wanting():
        return
    candidates = [n for n in state.tree.nodes() if is_leaf(n)]
    while wanting() and candidates:
        leaf = min(candidates, key=lambda n: n.node.accessed)
        candidates.remove(leaf)
        parent = evict_leaf(leaf)
        if is_leaf(parent):
            candidates.append(parent)


def evict_device_leaf(state: State, leaf: Page, freed: Freed) -> Page:
    """Demote a backed-up leaf, delete any other; its parent."""
    parent = state.tree.parent(leaf)
    if "host_full" in leaf.held:
        demote(state, leaf, freed)
    else:
        delete(state, leaf, freed)
    return parent


def demote(state: State, leaf: Page, freed: Freed) -> None:
    """Device data goes, host data stays: the node becomes host-only."""
    _drop_device(state, leaf, freed)


def delete(state: State, leaf: Page, freed: Freed) -> None:
    """Everything goes, the node too. Under write-through it has no children (I-1, I-6)."""
    assert not leaf.below, "an unbacked leaf has no host-only subtree under write-through"
    _drop_device(state, leaf, freed)
    state.tree.unlink(leaf)


def evict_host_leaf(state: State, leaf: Page, freed: Freed) -> Page:
    """The last copy of a prefix goes, and its node; the parent.

    Nothing is pruned above it: a parent has FULL data on some tier (I-7).
    """
    parent = state.tree.parent(leaf)
    for component in state.config.components:
        if f"host_{component}" in leaf.held:
            drop_host(state, leaf, component, freed)
    state.tree.unlink(leaf)
    return parent


def _drop_device(state: State, leaf: Page, freed: Freed) -> None:
    """FULL goes and the cascade takes SWA, whose free needs FULL's slots to be readable."""
    slots = state.tree.held(leaf, FULL) or ()
    state.memory.free(FULL, slots)
    if SWA in leaf.held:
        drop_swa_device(state, leaf, freed)
    state.tree.release(leaf, FULL)
    freed.full += len(slots)


def drop_swa_device(state: State, node: Page, freed: Freed) -> None:
    """A tombstone: SWA goes by FULL slots, so that the map is cleared with it."""
    state.memory.free_swa(state.tree.held(node, FULL) or ())
    freed.swa += len(state.tree.release(node, SWA))
    if "host_swa" in node.held:
        node.node.swa_host_recency = state.tree.front()


def drop_host(state: State, node: Page, component: str, freed: Freed) -> None:
    pool = f"host_{component}"
    slots = state.tree.release(node, pool)
    state.memory.free(pool, slots)
    setattr(freed, component, getattr(freed, component) + len(slots))
