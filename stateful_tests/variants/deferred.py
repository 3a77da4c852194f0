"""Frees that are resolved too late (domain.md 4.3: captured when requested)."""

from __future__ import annotations

import torch
from torch import Tensor

from radixproof.impl.torch_cache.admission import Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.host_eviction import Freed
from radixproof.impl.torch_cache.load_back import LoadPlan
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.node import Node
from radixproof.model import operations as op
from radixproof.model.config import SWA, CacheConfig
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH


@variant(
    "M-21",
    "the SWA slots behind freed FULL slots are looked up when the operation ends",
    "device-slots-have-one-owner",
    "map-agrees-with-live-swa-data",
    "requests-read-their-own-prefix",
    "free-slots-are-unmapped",
    "tombstones-are-unmapped",
    "tokens-that-fit-are-not-refused",
    CRASH,
)
class LooksUpSwaLate(TorchCache):
    """The group of frees is one operation: what it evicts and then allocates shares FULL slots."""

    def __init__(self, config: CacheConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self._group: list[Tensor] = []

    def _drop_component(self, node: Node, component: str, freed: Freed) -> None:
        if component != SWA or node.full.device is None:
            super()._drop_component(node, component, freed)
            return
        self._group.append(node.full.device)
        freed[SWA] += len(self._take_device(node, SWA))

    def _close_group(self) -> None:
        late, self._group = self._group, []
        for full in late:
            self.memory.free_swa(full)

    def evict(self, o: op.Evict) -> Freed:
        try:
            return super().evict(o)
        finally:
            self._close_group()

    def load_back(self, o: op.LoadBack) -> LoadPlan | None:
        try:
            return super().load_back(o)
        finally:
            self._close_group()

    def admit(self, o: op.Admit) -> tuple[Request | None, MatchResult, bool]:
        try:
            return super().admit(o)
        finally:
            self._close_group()

    def proceed(self, o: op.Proceed) -> tuple[Request | None, bool]:
        try:
            return super().proceed(o)
        finally:
            self._close_group()

    def prefill(self, o: op.Prefill) -> tuple[Request, int | None]:
        try:
            return super().prefill(o)
        finally:
            self._close_group()

    def decode(self, o: op.Decode) -> int | None:
        try:
            return super().decode(o)
        finally:
            self._close_group()
