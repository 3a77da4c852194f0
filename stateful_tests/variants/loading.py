"""Wrong load-backs."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.load_back import LoadPlan
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node, Transfer
from radixproof.model.config import FULL, SWA
from radixproof.stateful_tests.variants.variant import variant


@variant(
    "M-19",
    "loaded SWA slots are not entered in the map",
    "map-agrees-with-live-swa-data",
)
class DoesNotMapLoads(TorchCache):
    def _map_loaded(self, node: Node, swa: Tensor) -> None:
        pass


@variant(
    "M-19b",
    "loaded slots are handed to the nodes in the reverse order",
    "pending-loads-keep-both-ends",
    "device-slots-hold-their-prefix",
    "values-have-one-slot-per-token",
)
class HandsOutLoadsBackwards(TorchCache):
    def _commit_full(self, load: Transfer, nodes: list[Node], slots: Tensor) -> None:
        super()._commit_full(load, nodes[::-1], slots)
        for copy in load.copies:
            copy.host = copy.host.flip(0)


@variant(
    "M-29",
    "only the target is loaded, not its evicted ancestors",
    "device-data-is-prefix-closed",
    "a-load-back-makes-its-target-usable",
)
class LoadsTheTargetOnly(TorchCache):
    def _plan_load(self, target: Node) -> LoadPlan:
        plan = super()._plan_load(target)
        return replace(plan, full=plan.full[-1:], swa=[n for n in plan.swa if n is target])


@variant(
    "M-38",
    "the tokens a load protects are added to its quota instead of being charged (U-15)",
    "a-load-back-respects-its-quota",
)
class AddsToTheQuota(TorchCache):
    def _quota_allows(self, need: int, mem_quota: int | None, delta: int) -> bool:
        return mem_quota is None or need <= mem_quota + delta


@variant(
    "M-59",
    "a load of FULL evicts where SWA is short (SGLang 26302)",
    "a-load-back-takes-the-least-recent-windows",
    "a-load-back-with-room-evicts-nothing",
)
class EvictsFullWhereSwaIsShort(TorchCache):
    def _room_for_loads(self) -> int:
        room = super()._room_for_loads()
        return min(room, self.memory.available(SWA)) if self.has_swa else room


@variant(
    "M-3c",
    "a load locks the FULL data that it fills and nothing else",
    "pending-loads-keep-both-ends",
)
class LocksOnlyFullForLoads(TorchCache):
    def _load_back(
        self, target: Node, mem_quota: int | None = None, state: Tensor = NO_SLOTS
    ) -> LoadPlan | None:
        plan = super()._load_back(target, mem_quota, state)
        for receipt in self.queues.load_queue[-1].receipts if plan else ():
            if receipt.tier == "device":
                self._release_window(receipt)
        return plan


@variant(
    "M-71",
    "a load is refused where windows alone are missing",
    "a-load-back-that-fits-is-not-refused",
)
class LoadsNoWindowAlone(TorchCache):
    def _load_slots(
        self, plan: LoadPlan, mem_quota: int | None, delta: int
    ) -> dict[str, Tensor] | None:
        return super()._load_slots(plan, mem_quota, delta) if plan.full else None


@variant(
    "M-72",
    "a load that is short of FULL slots is refused without evicting",
    "a-load-back-that-fits-is-not-refused",
)
class EvictsNothingForLoads(TorchCache):
    def _load_slots(
        self, plan: LoadPlan, mem_quota: int | None, delta: int
    ) -> dict[str, Tensor] | None:
        short = plan.need[FULL] > self._room_for_loads()
        return None if short else super()._load_slots(plan, mem_quota, delta)


@variant(
    "M-67",
    "a load makes recent what its target had on the device already",
    "only-use-refreshes-recency",
)
class RefreshesWhatItLoads(TorchCache):
    def _load_back(
        self, target: Node, mem_quota: int | None = None, state: Tensor = NO_SLOTS
    ) -> LoadPlan | None:
        plan = super()._load_back(target, mem_quota, state)
        if plan and self.has_swa:
            self._refresh_swa_list(target)
        return plan


@variant(
    "M-68",
    "a fourth load is submitted while three are unfinished",
    "start-loading-submits-the-queue",
)
class SubmitsAFourthLoad(TorchCache):
    def _unfinished_loads(self) -> int:
        return 0
