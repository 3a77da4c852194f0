"""Freeing device memory (domain.md 5.5, 5.6, 6.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from radixproof.model.backup import write_back
from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.events import emit_removed
from radixproof.model.host_eviction import Freed, drain_leaves
from radixproof.model.state import DEVICE, State
from radixproof.model.tree import Page


def evict(state: State, wanted: Mapping[str, int]) -> Freed:
    """Free device tokens, as many as asked for of each component or as can be."""
    freed: Freed = Counter()
    stuck: set[Page] = set()
    drain_leaves(
        state,
        state.is_device_leaf,
        lambda: freed[FULL] < wanted.get(FULL, 0),
        lambda leaf: evict_device_leaf(state, leaf, freed, stuck),
    )
    for component in state.config.auxiliary:
        asked = wanted.get(component, 0)
        for victim in reversed(state.device_list(component)) if freed[component] < asked else ():
            if freed[component] >= asked:
                break
            if not may_lose(state, victim, component) or victim in stuck:
                continue
            if state.is_device_leaf(victim):
                evict_device_leaf(state, victim, freed, stuck)
            else:
                drop_internal(state, victim, component, freed)
    return freed


def may_lose(state: State, node: Page, component: str) -> bool:
    """Data that is still there, and that nobody locks."""
    return component in node.held and not state.lock_count(node, component, DEVICE)


def evict_device_leaf(state: State, leaf: Page, freed: Freed, stuck: set[Page]) -> Page:
    """Demote a backed-up leaf; back up or delete any other, by policy. Its parent.

    Under write-back a leaf that the host has no room for stays on the device, and is ``stuck``:
    it is not tried again in this call (U-5).
    """
    parent = state.tree.parent(leaf)
    if "host_full" in leaf.held or (state.config.writes_back and write_back(state, leaf)):
        demote(state, leaf, freed)
    elif state.config.writes_back:
        stuck.add(leaf)
    else:
        delete(state, leaf, freed)
    return parent


def demote(state: State, leaf: Page, freed: Freed) -> None:
    """Device data goes, host data stays: the node becomes host-only."""
    _drop_leaf(state, leaf, freed)


def delete(state: State, leaf: Page, freed: Freed) -> None:
    """Everything goes, the node too. Under write-through it has no children (I-1, I-6)."""
    assert not leaf.below, "an unbacked leaf has no host-only subtree under write-through"
    _drop_leaf(state, leaf, freed)
    state.tree.unlink(leaf)


def _drop_leaf(state: State, leaf: Page, freed: Freed) -> None:
    """FULL goes and the cascade takes all else; freeing SWA needs FULL's slots to be readable."""
    slots = state.tree.held(leaf, FULL) or ()
    emit_removed(state, GPU, state.tree.pages(leaf))
    state.memory.free(FULL, slots)
    for component in state.config.auxiliary:
        if component in leaf.held:
            drop_device(state, leaf, component, freed)
    state.tree.release(leaf, FULL)
    freed[FULL] += len(slots)


def drop_internal(state: State, node: Page, component: str, freed: Freed) -> None:
    """A tombstone. A state is useful only with the window behind it: it goes with SWA (5.6)."""
    drop_device(state, node, component, freed)
    if component == SWA and MAMBA in node.held:
        assert not state.lock_count(node, MAMBA, DEVICE), "who locks a state locks its window"
        drop_device(state, node, MAMBA, freed)


def drop_device(state: State, node: Page, component: str, freed: Freed) -> None:
    """SWA goes by FULL slots, so that the map is cleared with it."""
    slots = state.tree.release(node, component)
    if component == SWA:
        state.memory.free_swa(state.tree.held(node, FULL) or ())
    else:
        state.memory.free(component, slots)
    freed[component] += len(slots)
    if f"host_{component}" in node.held:
        node.node.recency[f"host_{component}"] = state.tree.front()
