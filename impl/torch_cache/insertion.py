"""Handing slots to the tree (domain.md 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from radixproof.impl.torch_cache.eviction import Eviction
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node
from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA


@dataclass(frozen=True, slots=True)
class Incoming:
    """``slots[i]`` (int64) holds token ``i``; the tree has the first ``protected`` already.

    The first ``swa_evicted`` tokens have no SWA slot. ``state`` (MAMBA; empty without) is one slot
    with the state of the whole key.
    """

    namespace: str
    tokens: tuple[int, ...]
    slots: Tensor
    protected: int = 0
    swa_evicted: int = 0
    chunked: bool = False
    priority: int = 0
    state: Tensor = NO_SLOTS


@dataclass(frozen=True, slots=True)
class Inserted:
    """``prefix_len`` tokens were in the tree already; ``state_taken``: the tree owns the state."""

    prefix_len: int
    state_taken: bool


class Insertion(Eviction):
    """Duplicates are freed, tombstones recover, the rest becomes a leaf."""

    def _insert(self, new: Incoming) -> Inserted:
        """Make the page-aligned key device-resident; a state not taken is the caller's."""
        length = len(new.tokens) // self.page * self.page
        if self.config.disable:
            self.memory.free_composite(new.slots[new.protected : length])
            return Inserted(0, state_taken=False)
        key = new.tokens[:length]
        node, done = self.root, 0
        self._touch(node)
        while done < length:
            child = node.children.get((new.namespace, key[done : done + self.page]))
            if child is None:
                break
            node = self._walk_onto(child, key, done, new)
            done = node.end
        fresh = done < length
        if fresh:
            if self._leaf_is_vetoed(new, length):
                self.memory.free_composite(new.slots[done:length])
                return Inserted(done, self._vetoed_state_taken())
            node = self._new_leaf(node, key, done, new)
        taken = self._commit_state(node, new)
        if self.has_swa and not node.is_root:
            self._refresh_swa_list(node)
        if fresh:
            self._count_hit(node, new.chunked)
        return Inserted(done, taken)

    def _vetoed_state_taken(self) -> bool:
        """No leaf, no owner: the caller must dispose of the state (U-12)."""
        return False

    def _commit_state(self, node: Node, new: Incoming) -> bool:
        """The node takes the state if it has none on device; either way it is most recent."""
        if not len(new.state) or node.is_root:
            return False
        if node.mamba.device is None:
            self._set_device(node, MAMBA, new.state.clone())
            return True
        self.device_lists[MAMBA].push_front(node.mamba.link)
        return False

    def _walk_onto(self, node: Node, key: tuple[int, ...], done: int, new: Incoming) -> Node:
        """One step down the tree; the node that ends where this piece of the key does."""
        self._touch(node)
        matched = self._common(node.key, key, done)
        if matched < len(node.key):
            node = self._split(node, matched)
        node.priority = max(node.priority, new.priority)
        slots = new.slots[done : done + matched]
        if node.full.device is None:
            self._unevict(node, slots, done, new)
        else:
            self._overlap(node, slots, done, new)
        self._count_hit(node, new.chunked)
        return node

    def _common(self, edge: tuple[int, ...], key: tuple[int, ...], done: int) -> int:
        """Tokens that an edge shares with the key from ``done`` on, in whole pages."""
        size = self.page
        matched = 0
        while (
            matched < len(edge)
            and edge[matched : matched + size] == (key[done + matched : done + matched + size])
        ):
            matched += size
        return matched

    def _outside(self, start: int, length: int, new: Incoming) -> int | None:
        """How many of a piece's tokens lie outside the inserter's window; ``None``: all."""
        outside = max(0, new.swa_evicted - start)
        return outside if outside < length else None

    def _unevict(self, node: Node, slots: Tensor, done: int, new: Incoming) -> None:
        """The incoming slots make a host-only node device-resident again (6.2.3)."""
        self._set_device(node, FULL, slots.clone())
        self._emit_stored(GPU, node)
        self._refresh_leaf_sets(node, node.above)
        outside = self._outside(done, len(slots), new)
        if self.has_swa and outside is not None:
            if outside:
                self._split(node, outside)
            self._give_swa(node)

    def _overlap(self, node: Node, slots: Tensor, done: int, new: Incoming) -> None:
        """The incoming slots are duplicates, unless a tombstone's SWA recovers (6.2.4)."""
        consumed = len(slots)
        if self.has_swa and node.swa.device is None and new.protected < done + consumed:
            outside = self._outside(done, consumed, new)
            if outside is not None:
                self._recover_swa(node, slots, outside)
                consumed = outside
        self._free_duplicates(slots, done, consumed, new)

    def _free_duplicates(self, slots: Tensor, done: int, consumed: int, new: Incoming) -> None:
        """Free the inserter's own copies, not what it borrowed and not what was adopted."""
        self.memory.free_composite(slots[max(0, new.protected - done) : consumed])

    def _recover_swa(self, node: Node, slots: Tensor, outside: int) -> None:
        """The part of a tombstone inside the window gets SWA data back."""
        if self._may_adopt(node):
            self._adopt(node, slots, outside)
        else:
            self._move_swa(node, slots, outside)
        self._give_swa(node)

    def _may_adopt(self, node: Node) -> bool:
        """Slots that a request or a copy reads are not exchanged (U-1, I-14)."""
        return node.full.lock == 0

    def _adopt(self, node: Node, slots: Tensor, outside: int) -> None:
        """The node takes the incoming slots in place of its own."""
        old = node.full.device
        assert old is not None, "a tombstone has FULL data"
        self.memory.free_composite(old[outside:])
        if outside:
            self._split(node, outside)
        node.full.device = slots[outside:].clone()

    def _move_swa(self, node: Node, slots: Tensor, outside: int) -> None:
        """The node keeps its FULL slots; only the incoming SWA slots change hands."""
        if outside:
            self._split(node, outside)
        old = node.full.device
        assert old is not None, "a tombstone has FULL data"
        incoming = slots[outside:]
        swa = self.memory.full_to_swa[incoming]
        self.memory.full_to_swa[incoming] = 0
        self.memory.full_to_swa[old] = swa
        self.memory.free(FULL, incoming)

    def _leaf_is_vetoed(self, new: Incoming, length: int) -> bool:
        """A new leaf wholly outside the window is not worth a node (6.2.6, U-12)."""
        return (
            self.has_swa
            and not self.config.materialize_out_of_window_leaf
            and new.swa_evicted >= length
        )

    def _new_leaf(self, parent: Node, key: tuple[int, ...], done: int, new: Incoming) -> Node:
        """The rest of the key as a leaf, parted where the window begins and where it ends."""
        leaf = self._new_node(new.namespace, key[done:], parent)
        leaf.priority = new.priority
        self._link(leaf)
        self._set_device(leaf, FULL, new.slots[done : len(key)].clone())
        self._emit_stored(GPU, leaf)
        self._refresh_leaf_sets(leaf, parent)
        outside = self._outside(done, len(key) - done, new)
        if self.has_swa and outside is not None:
            if outside:
                self._split(leaf, outside)
            self._give_swa(leaf)
            cap = self._window_cap(len(leaf.key))
            if cap is not None:
                self._split(leaf, cap)
        return leaf

    def _window_cap(self, length: int) -> int | None:
        """Where a fresh leaf is cut so that a lock on it pins one window only (6.2.7)."""
        window = -(-self.config.sliding_window // self.page) * self.page
        return length - window if length > window else None

    def _give_swa(self, node: Node) -> None:
        """The node owns the SWA slots behind its FULL slots."""
        full = node.full.device
        assert full is not None, "SWA data needs FULL data"
        self._set_device(node, SWA, self.memory.full_to_swa[full])
