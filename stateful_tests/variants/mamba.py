"""Wrong treatment of recurrent states. M-37 is domain.md's; from M-43 on they are our own."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.insertion import Incoming
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.model.config import MAMBA
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH

_START = ("requests-go-on-from-their-own-state", "an-admitted-request-gets-its-prefixs-state")
_OWNERS = "device-slots-have-one-owner"


@variant("M-37", "after a refused load the state slot is neither filled nor zeroed (U-8)", *_START)
class LeavesTheStateUnfilled(TorchCache):
    def _prepare_state(self, request: Request, best: Node) -> None:
        super()._prepare_state(request, best)
        if best is not request.last_node:
            request.state_source, request.zero_state = None, False


@variant("M-43", "a split gives the state to the upper part", "device-slots-hold-their-prefix")
class MovesTheStateUp(TorchCache):
    def _split(self, lower: Node, length: int) -> Node:
        upper = super()._split(lower, length)
        if lower.mamba.device is not None and not lower.mamba.lock:
            slot = self._take_device(lower, MAMBA)
            self._set_device(upper, MAMBA, slot)
        return upper


@variant(
    "M-44",
    "a match does not refresh the states of its path",
    "a-match-makes-its-window-and-states-most-recent",
)
class ForgetsWhichStatesWereUsed(TorchCache):
    def _refresh_mamba_list(self, node: Node) -> None:
        pass


@variant("M-45", "a vetoed insert says that the tree took the state (U-12)", _OWNERS)
class LeaksTheStateOfAVetoedLeaf(TorchCache):
    def _vetoed_state_taken(self) -> bool:
        return True


@variant("M-45b", "a state that the tree has already is taken for adopted", _OWNERS)
class LeaksDuplicateStates(TorchCache):
    def _commit_state(self, node: Node, new: Incoming) -> bool:
        super()._commit_state(node, new)
        return bool(len(new.state))


@variant(
    "M-46", "a request computes on the tree's own state slot: no copy-on-write", _OWNERS, CRASH
)
class ComputesOnTheTreesState(TorchCache):
    def _prepare_state(self, request: Request, best: Node) -> None:
        super()._prepare_state(request, best)
        if request.state_source is not None:
            self._dispose_of_state(request.state)
            request.state, request.state_source = request.state_source, None


@variant(
    "M-46b",
    "the state is copied again before every chunk",
    "a-forward-pass-settles-the-state",
    "requests-go-on-from-their-own-state",
)
class CopiesTheStateAgain(TorchCache):
    def _fill_state(self, request: Request) -> None:
        source = request.state_source
        super()._fill_state(request)
        request.state_source = source


@variant("M-47", "a donated state slot is freed as well", _OWNERS, CRASH)
class FreesDonatedStates(TorchCache):
    def _finish(self, request: Request) -> int:
        prefix_len = super()._finish(request)
        state = request.last_node.mamba.device if not request.last_node.is_root else None
        taken = any(
            node.mamba.device is not None and int(node.mamba.device) == int(request.state)
            for node in self.device_lists.get(MAMBA, ())
        )
        if self.has_mamba and taken and state is not request.state:
            self._dispose_of_state(request.state)
        return prefix_len


@variant(
    "M-48",
    "a backup leaves the state behind",
    "a-backup-takes-all-that-is-on-device",
    "write-back-loses-nothing-with-room",
)
class BacksUpNoStates(TorchCache):
    def _host_slots(self, node: Node) -> dict[str, Tensor] | None:
        held, node.mamba.device = node.mamba.device, None
        slots = super()._host_slots(node)
        node.mamba.device = held
        return slots


@variant(
    "M-49",
    "an aborted request gives its state slot away while a load has yet to fill it",
    "pending-loads-keep-both-ends",
)
class GivesAwayASlotUnderALoad(TorchCache):
    def _wait_for_own_state(self, request: Request) -> None:
        pass


@variant(
    "M-50",
    "the eviction that makes room for a state slot may take what was just matched",
    "receipts-refer-to-nodes-in-the-tree",
    "an-admission-reports-what-a-match-would",
    "an-admitted-request-holds-its-prefix",
    CRASH,
)
class EvictsItsOwnMatch(TorchCache):
    def _pin_match(self, matched: Node) -> list[Receipt]:
        return []


@variant(
    "M-51",
    "a fork for the tree is handed over without copying the state into it",
    "device-slots-hold-their-prefix",
)
class ForksWithoutCopying(TorchCache):
    def _cache_unfinished(self, request: Request, fork: Tensor) -> int:
        keep = request.state
        request.state = fork if len(fork) else NO_SLOTS
        try:
            return super()._cache_unfinished(request, fork)
        finally:
            request.state = keep
