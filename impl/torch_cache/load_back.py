"""Bringing host data back to the device (domain.md 6.8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.matching import Matching, on_any_tier
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Copy, Node, Transfer
from radixproof.impl.torch_cache.transfer import Submission
from radixproof.model.config import FULL, SWA

MAX_UNFINISHED_LOADS = 3


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Nodes that need a FULL slot per token, and nodes that need an SWA slot; root to leaf."""

    full: list[Node]
    swa: list[Node]

    @property
    def need_full(self) -> int:
        return sum(len(n.key) for n in self.full)

    @property
    def need_swa(self) -> int:
        return sum(len(n.key) for n in self.swa)


class LoadBack(Matching):
    """A load is all or nothing; its target is locked on both tiers from the start."""

    def _is_loadable(self, target: Node) -> bool:
        """Whether a match of exactly this prefix would have it for its best node."""
        return self._deepest_valid(target.upwards()[::-1], on_any_tier) is target

    def _load_back(self, target: Node, mem_quota: int | None = None) -> LoadPlan | None:
        """Queue the copies that make ``target`` usable from the device; ``None``: refused."""
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
        self._commit_load(load, plan, *slots)
        return plan

    def _is_loading(self, target: Node) -> bool:
        """One pending load a target (I-33)."""
        return any(load.node is target for load in self.queues.pending_loads())

    def _plan_load(self, target: Node) -> LoadPlan:
        """All evicted nodes of the path; of one window, those whose SWA is on host only."""
        full = [n for n in reversed(target.upwards()) if n.full.device is None]
        window = self._window(target, self.config.sliding_window) if self.has_swa else []
        swa = [n for n in reversed(window) if n.swa.device is None and n.swa.host is not None]
        return LoadPlan(full, swa)

    def _quota_allows(self, need: int, mem_quota: int | None, delta: int) -> bool:
        """The new slots and those the lock made unevictable fit the caller's budget (U-15)."""
        return mem_quota is None or need + delta <= mem_quota

    def _load_slots(
        self, plan: LoadPlan, mem_quota: int | None, delta: int
    ) -> tuple[Tensor, Tensor] | None:
        """Device slots for FULL and SWA, evicting where short; ``None`` when refused."""
        need, need_swa = plan.need_full, plan.need_swa
        if not need_swa and (not need or need < self.config.load_back_threshold):
            return None
        if not self._quota_allows(need, mem_quota, delta):
            return None
        short = need - self.memory.available(FULL)
        if short > 0:
            self._evict({FULL: short})
            if self.memory.available(FULL) < need:
                return None
        full = self.memory.allocate(FULL, need)
        if full is None:
            return None
        swa = self.memory.allocate(SWA, need_swa)
        if swa is None:
            self._evict({SWA: need_swa})
            swa = self.memory.allocate(SWA, need_swa)
        if swa is None:
            self.memory.free(FULL, full)
            return None
        return full, swa

    def _commit_load(self, load: Transfer, plan: LoadPlan, full: Tensor, swa: Tensor) -> None:
        """The nodes are device-resident from now on; their data arrives when the copy runs."""
        self._commit_full(load, plan.full, full)
        if plan.swa:
            self._commit_swa(load, plan.swa, swa)
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
    return sorted(dict.fromkeys(plan.full + plan.swa), key=lambda n: n.start)
