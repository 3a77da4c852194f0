"""Bringing host data back to the device (domain.md 6.8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.matching import Matching, on_any_tier
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Copy, Node, Transfer
from radixproof.impl.torch_cache.transfer import Submission
from radixproof.model.blocks import GPU
from radixproof.model.config import FULL, MAMBA, SWA

MAX_UNFINISHED_LOADS = 3


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Nodes that need a FULL or an SWA slot per token, root to leaf, and those that get a state."""

    full: list[Node]
    swa: list[Node]
    mamba: list[Node]

    @property
    def need(self) -> dict[str, int]:
        """Component -> device slots, in the order in which they are allocated."""
        return {
            FULL: sum(len(n.key) for n in self.full),
            SWA: sum(len(n.key) for n in self.swa),
            MAMBA: len(self.mamba),
        }


class LoadBack(Matching):
    """A load is all or nothing; its target is locked on both tiers from the start."""

    def _is_loadable(self, target: Node) -> bool:
        """Whether a match of exactly this prefix would have it for its best node."""
        return self._deepest_valid(target.upwards()[::-1], on_any_tier) is target

    def _load_back(
        self, target: Node, mem_quota: int | None = None, state: Tensor = NO_SLOTS
    ) -> LoadPlan | None:
        """Queue the copies that make ``target`` usable from the device; ``None``: refused.

        ``state``: a request's own slot, into which a state that is loaded is copied as well.
        """
        if not self.has_host or self._is_loading(target):
            return None
        device_receipt, delta = self._acquire(target, "load")
        receipts = [device_receipt, self._acquire_host(target, "load")]
        plan = self._plan_load(target)
        slots = self._load_slots(plan, mem_quota, delta)
        if slots is None:
            for receipt in receipts:
                self._release(receipt)
            return None
        load = Transfer(target.id, target, _in_path_order(plan), [], receipts)
        self.queues.load_queue.append(load)
        self._commit_load(load, plan, slots, state)
        return plan

    def _is_loading(self, target: Node) -> bool:
        """One pending load a target (I-33)."""
        return any(load.node is target for load in self.queues.pending_loads())

    def _plan_load(self, target: Node) -> LoadPlan:
        """All evicted nodes of the path; of one window, those whose SWA is on host only."""
        full = [n for n in reversed(target.upwards()) if n.full.device is None]
        window = self._window(target, self.config.sliding_window) if self.has_swa else []
        swa = [n for n in reversed(window) if n.swa.device is None and n.swa.host is not None]
        state = self.has_mamba and target.mamba.device is None and target.mamba.host is not None
        return LoadPlan(full, swa, [target] if state else [])

    def _quota_allows(self, need: int, mem_quota: int | None, delta: int) -> bool:
        """The new slots and those the lock made unevictable fit the caller's budget (U-15)."""
        return mem_quota is None or need + delta <= mem_quota

    def _load_slots(
        self, plan: LoadPlan, mem_quota: int | None, delta: int
    ) -> dict[str, Tensor] | None:
        """Device slots per component, evicting where short; ``None`` when refused."""
        need = plan.need
        only_full = not (need[SWA] or need[MAMBA])
        if only_full and (not need[FULL] or need[FULL] < self.config.load_back_threshold):
            return None
        if not self._quota_allows(need[FULL], mem_quota, delta):
            return None
        short = need[FULL] - self._room_for_loads()
        if short > 0:
            self._evict({FULL: short})
            if self.memory.available(FULL) < need[FULL]:
                return None
        taken: dict[str, Tensor] = {}
        for component, count in need.items():
            slots = self._device_slots(component, count)
            if slots is None:
                self._undo_device_slots(taken)
                return None
            taken[component] = slots
        return taken

    def _room_for_loads(self) -> int:
        """Only FULL slots are counted: the other pools evict on their own account (6.8)."""
        return self.memory.available(FULL)

    def _device_slots(self, component: str, count: int) -> Tensor | None:
        """Room for FULL was made before; the others evict when an allocation fails, once."""
        slots = self.memory.allocate(component, count)
        if slots is None and component != FULL:
            self._evict({component: count})
            slots = self.memory.allocate(component, count)
        return slots

    def _undo_device_slots(self, taken: dict[str, Tensor]) -> None:
        """A refused allocation gives back those that went before it."""
        for component, slots in taken.items():
            self.memory.free(component, slots)

    def _commit_load(
        self, load: Transfer, plan: LoadPlan, slots: dict[str, Tensor], state: Tensor
    ) -> None:
        """The nodes are device-resident from now on; their data arrives when the copy runs."""
        self._commit_full(load, plan.full, slots[FULL])
        if plan.swa:
            self._commit_swa(load, plan.swa, slots[SWA])
        for node in plan.mamba:
            self._commit_mamba(load, node, slots[MAMBA], state)
        self._emit_stored(GPU, *plan.full)
        self._refresh_leaf_sets(*load.node.upwards())

    def _commit_full(self, load: Transfer, nodes: list[Node], slots: Tensor) -> None:
        if not nodes:
            return
        load.copies.append(Copy(FULL, slots, _host_slots(nodes, FULL)))
        for node, part in zip(nodes, _parts(slots, nodes), strict=True):
            self._set_device(node, FULL, part)

    def _commit_swa(self, load: Transfer, nodes: list[Node], slots: Tensor) -> None:
        load.copies.append(Copy(SWA, slots, _host_slots(nodes, SWA)))
        for node, part in zip(nodes, _parts(slots, nodes), strict=True):
            self._map_loaded(node, part)
            self._set_device(node, SWA, part)

    def _commit_mamba(self, load: Transfer, node: Node, slot: Tensor, state: Tensor) -> None:
        """The same host slot goes into the node's new slot and, if there is one, the request's."""
        targets = torch.cat([slot, state])
        load.copies.append(Copy(MAMBA, targets, _host_slots([node], MAMBA).repeat(len(targets))))
        self._set_device(node, MAMBA, slot)

    def _map_loaded(self, node: Node, swa: Tensor) -> None:
        """Kernels find the loaded SWA slots through the node's FULL slots (I-22)."""
        assert node.full.device is not None, "FULL is committed before SWA"
        self.memory.full_to_swa[node.full.device] = swa

    # Submission

    def _unfinished_loads(self) -> int:
        return sum(not s.executed for s in self.queues.loads)

    def _start_loading(self) -> int:
        """Merge and submit the load queue; how many loads it had (6.8.3)."""
        merged = self.queues.load_queue
        if merged:
            self.queues.loads.append(Submission(merged))
            self.queues.load_queue = []
        return len(merged)

    def _wait_for_loads(self, stream: str) -> None:
        """What a forward pass does before it reads: every load, submitted or queued, runs."""
        self._start_loading()
        for submission in self.queues.loads:
            if not submission.executed:
                self.engine.run(self.memory, stream, submission)


def _host_slots(nodes: list[Node], component: str) -> Tensor:
    """The host slots of nodes that are backed up, one after another."""
    parts = [host for n in nodes if (host := n.value(component).host) is not None]
    return torch.cat(parts) if parts else NO_SLOTS


def _parts(slots: Tensor, nodes: list[Node]) -> list[Tensor]:
    """Consecutive pieces of ``slots``, one per node and as long as it; storage of their own."""
    parts = []
    begin = 0
    for node in nodes:
        parts.append(slots[begin : begin + len(node.key)].clone())
        begin += len(node.key)
    return parts


def _in_path_order(plan: LoadPlan) -> list[Node]:
    return sorted(dict.fromkeys(plan.full + plan.swa + plan.mamba), key=lambda n: n.start)
