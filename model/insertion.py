"""Handing slots to the tree (domain.md 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.model.backup import count_hit
from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.events import emit_stored
from radixproof.model.keys import common_prefix, floor_page
from radixproof.model.recency import refresh_window, touch
from radixproof.model.state import DEVICE, State
from radixproof.model.tree import Page, Slots
from radixproof.model.windows import duplicate_range, frontier_split, window_cap


@dataclass(frozen=True, slots=True)
class Insertion:
    """``slots[i]`` holds token ``i``; the first ``protected`` tokens are the tree's already.

    ``swa_evicted`` leading tokens have no SWA slot. All three are multiples of the page.
    ``state`` (MAMBA) is a state slot that holds the state of the whole key.
    """

    namespace: str
    tokens: tuple[int, ...]
    slots: Slots
    protected: int = 0
    swa_evicted: int = 0
    chunked: bool = False
    priority: int = 0
    state: int | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """``prefix_len`` tokens were in the tree already; ``state_taken``: the tree owns the state."""

    prefix_len: int
    state_taken: bool


def insert(state: State, new: Insertion) -> Inserted:
    """Make the page-aligned key device-resident.

    Afterwards every slot of the key from ``protected`` on belongs to the tree or is free; a state
    that was not taken is the caller's to dispose of.
    """
    tree = state.tree
    length = floor_page(len(new.tokens), tree.page_size)
    if state.config.disable:
        state.memory.free_composite(new.slots[new.protected : length])
        return Inserted(0, state_taken=False)
    key = new.tokens[:length]
    node, done = tree.root, 0
    touch(state, node)
    while done < length:
        below = node.below.get((new.namespace, key[done : done + tree.page_size]))
        if below is None:
            break
        node = walk_onto(state, new, tree.end_of(below), key, done)
        done = len(node.tokens)
    if done < length:
        if is_vetoed(state, new, length):
            state.memory.free_composite(new.slots[done:length])
            return Inserted(done, state_taken=False)
        node = new_leaf(state, new, node, key)
    taken = commit_state(state, node, new.state)
    if state.config.has_swa and node is not tree.root:
        refresh_window(state, node)
    if done < length:
        count_hit(state, node, new.chunked)
    return Inserted(done, taken)


def commit_state(state: State, node: Page, slot: int | None) -> bool:
    """The node takes the state if it has none on device; either way it is the most recent."""
    if slot is None or node is state.tree.root:
        return False
    taken = MAMBA not in node.held
    if taken:
        state.tree.hold(node, MAMBA, (slot,))
    node.node.recency[MAMBA] = state.tree.front()
    return taken


def walk_onto(state: State, new: Insertion, node: Page, key: tuple[int, ...], done: int) -> Page:
    """One step of the walk; the node that now holds the end of this piece (6.2.2)."""
    tree = state.tree
    touch(state, node)
    matched = common_prefix(node.tokens[done:], key[done:], tree.page_size)
    if matched < len(node.tokens) - done:
        node = tree.split(_page_at(state, node, done + matched))
    node.node.priority = max(node.node.priority, new.priority)
    slots = new.slots[done : done + matched]
    if FULL in node.held:
        overlap(state, new, node, done, slots)
    else:
        un_evict(state, new, node, done, slots)
    count_hit(state, node, new.chunked)
    return node


def un_evict(state: State, new: Insertion, node: Page, done: int, slots: Slots) -> None:
    """The incoming slots make a host-only node device-resident again (6.2.3)."""
    state.tree.hold(node, FULL, slots)
    emit_stored(state, GPU, state.tree.pages(node))
    outside = frontier_split(done, len(slots), new.swa_evicted)
    if state.config.has_swa and outside is not None:
        if outside:
            state.tree.split(_page_at(state, node, done + outside))
        give_swa(state, node)


def overlap(state: State, new: Insertion, node: Page, done: int, slots: Slots) -> None:
    """The node has its own slots: the incoming ones are duplicates, unless SWA recovers (6.2.4)."""
    consumed = len(slots)
    if state.config.has_swa and SWA not in node.held and new.protected < done + len(slots):
        outside = frontier_split(done, len(slots), new.swa_evicted)
        if outside is not None:
            recover_swa(state, node, done, slots, outside)
            consumed = outside
    begin, end = duplicate_range(done, consumed, new.protected)
    state.memory.free_composite(slots[begin:end])


def recover_swa(state: State, node: Page, done: int, slots: Slots, outside: int) -> None:
    """A tombstone's part inside the inserter's window gets SWA data back.

    An unlocked node adopts the incoming slots whole. Where FULL is locked, a request or a copy
    reads the node's own FULL slots: they stay, and only the incoming SWA slots move over.
    """
    memory, tree = state.memory, state.tree
    locked = state.lock_count(node, FULL, DEVICE) > 0
    old, incoming = (tree.held(node, FULL) or ())[outside:], slots[outside:]
    if not locked:
        memory.free_composite(old)
    if outside:
        tree.split(_page_at(state, node, done + outside))
    if locked:
        swa = memory.swa_of(incoming)
        memory.map(incoming, (0,) * len(incoming))
        memory.map(old, swa)
        memory.free(FULL, incoming)
    else:
        tree.hold(node, FULL, incoming)
    give_swa(state, node)


def is_vetoed(state: State, new: Insertion, length: int) -> bool:
    """A new leaf wholly outside the SWA window is not worth a node (6.2.6, U-12)."""
    config = state.config
    return (
        config.has_swa and not config.materialize_out_of_window_leaf and new.swa_evicted >= length
    )


def new_leaf(state: State, new: Insertion, parent: Page, key: tuple[int, ...]) -> Page:
    """The rest of the key as a leaf, parted where the SWA window begins (6.2.6, 6.2.7)."""
    tree, config = state.tree, state.config
    start = len(parent.tokens)
    leaf = tree.add_leaf(parent, new.namespace, key, new.priority)
    tree.hold(leaf, FULL, new.slots[start : len(key)])
    emit_stored(state, GPU, tree.pages(leaf))
    outside = frontier_split(start, len(key) - start, new.swa_evicted)
    if not config.has_swa or outside is None:
        return leaf
    if outside:
        tree.split(_page_at(state, leaf, start + outside))
    give_swa(state, leaf)
    cap = window_cap(tree.length(leaf), config.sliding_window, config.page_size)
    if cap is not None:
        tree.split(_page_at(state, leaf, tree.start(leaf) + cap))
    return leaf


def give_swa(state: State, node: Page) -> None:
    """SWA data appears on a node: what its FULL slots map to; it comes first in the list."""
    state.tree.hold(node, SWA, state.memory.swa_of(state.tree.held(node, FULL) or ()))
    node.node.recency[SWA] = state.tree.front()


def _page_at(state: State, node: Page, end: int) -> Page:
    """The page of a node that ends at token ``end``."""
    return next(page for page in state.tree.pages(node) if len(page.tokens) == end)
