"""Admission in two halves: wait on the device prefix, then load the rest and run (6.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.errors import ArgumentError
from radixproof.impl.torch_cache.load_back import LoadBack
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.impl.torch_cache.req_to_token import ReqToToken
from radixproof.model.config import MAMBA, CacheConfig


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A request that waits; ``best_end``: tokens usable from both tiers when it was matched."""

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    device: Node
    receipt: Receipt
    best_end: int


@dataclass(slots=True, eq=False)
class Request:
    """A running request; its slots are ``allocated`` entries of a row of the table.

    ``state``: its own state slot (MAMBA; empty without). Before its first forward pass that is to
    be copied from ``state_source``, or zeroed, or is filled by a load.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    prompt_len: int
    row: int
    allocated: int
    protected: int
    committed: int
    last_node: Node
    receipt: Receipt
    swa_evicted: int = 0
    state: Tensor = NO_SLOTS
    state_source: Tensor | None = None
    zero_state: bool = False


class Admission(LoadBack):
    """From the waiting queue into the batch."""

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.requests: dict[str, Request] = {}
        self.candidates: dict[str, Candidate] = {}
        self.req_to_token = ReqToToken()

    def _prepare(
        self, name: str, namespace: str, tokens: tuple[int, ...], priority: int
    ) -> MatchResult:
        """All tokens but the last are matched, so that one is always computed."""
        found = self._match(namespace, self._units(tokens[:-1]))
        receipt, _ = self._acquire(found.device, "request", name)
        self.candidates[name] = Candidate(
            name, namespace, tokens, priority, found.device, receipt, found.best.end
        )
        return found

    def _proceed(
        self, waiting: Candidate, *, may_load: bool, mem_quota: int | None
    ) -> tuple[Request | None, bool]:
        """The request, ``None`` without a state slot; and whether a load was accepted."""
        node, plan = waiting.device, None
        best = self._best_now(waiting)
        state = self._take_state_slot(best) if self.has_mamba else NO_SLOTS
        if state is None:
            return None, False
        if may_load and self._needs_loading(node, best):
            plan = self._load_back(best, mem_quota, state)
            node = best if plan else node
        receipt, _ = self._acquire(node, "request", waiting.name)
        self._drop(waiting)
        slots = self._path_slots(node)
        row = self.req_to_token.take()
        self.req_to_token.write(row, 0, slots)
        request = Request(
            name=waiting.name,
            namespace=waiting.namespace,
            tokens=waiting.tokens,
            priority=waiting.priority,
            prompt_len=len(waiting.tokens),
            row=row,
            allocated=len(slots),
            protected=node.end,
            committed=node.end,
            last_node=node,
            receipt=receipt,
            state=state,
        )
        if self.has_mamba and not (plan and plan.mamba):
            self._prepare_state(request, best)
        self.requests[request.name] = request
        return request, plan is not None

    def _drop(self, waiting: Candidate) -> None:
        """It waits no longer; its lock on the device prefix ends."""
        self._release(waiting.receipt)
        del self.candidates[waiting.name]

    def _best_now(self, waiting: Candidate) -> Node:
        """What was matched may be gone, or of no use any more: then only the device prefix is."""
        try:
            key = self._units(waiting.tokens)[: waiting.best_end]
            best = self._find(waiting.namespace, key)
        except ArgumentError:
            return waiting.device
        return best if not best.is_root and self._is_loadable(best) else waiting.device

    def _needs_loading(self, device: Node, best: Node) -> bool:
        if best.is_root:
            return False
        hits = self._hits(device, best)
        return best.full.device is None or max(hits) > 0

    # The state of a request (MAMBA): a slot of its own, never one of the tree's

    def _take_state_slot(self, matched: Node) -> Tensor | None:
        """One free state slot, evicting one state if there is none, but nothing of the match."""
        slot = self.memory.allocate(MAMBA, 1)
        if slot is None:
            pins = self._pin_match(matched)
            self._evict({MAMBA: 1})
            for pin in pins:
                self._release(pin)
            slot = self.memory.allocate(MAMBA, 1)
        return slot

    def _pin_match(self, matched: Node) -> list[Receipt]:
        """What will be loaded must survive the eviction for the state slot, on both tiers."""
        return [self._acquire(matched, "request")[0], self._acquire_host(matched, "request")]

    def _prepare_state(self, request: Request, best: Node) -> None:
        """Copy-on-write from the end of the usable prefix (U-8); zeros where nothing is usable."""
        request.state_source = request.last_node.mamba.device
        request.zero_state = request.state_source is None
