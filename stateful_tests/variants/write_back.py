"""Wrong evictions under write-back."""

from __future__ import annotations

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.errors import InternalError
from radixproof.impl.torch_cache.host_eviction import Freed
from radixproof.impl.torch_cache.node import Node
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH


@variant(
    "M-1e",
    "write-back backs up a leaf's ancestors first, as write-through does",
    "only-what-is-evicted-is-written-back",
)
class BacksUpThePathOfALeaf(TorchCache):
    def _write_back(self, leaf: Node) -> bool:
        copied = all(self._back_up_one(n) for n in self._unbacked_chain(leaf))
        self._drain_writes()
        return copied


@variant(
    "M-24",
    "a leaf whose backup was refused is demoted all the same (SGLang 24585)",
    "nodes-have-data",
)
class DemotesWhatWasRefused(TorchCache):
    def _write_back(self, leaf: Node) -> bool:
        super()._write_back(leaf)
        return True


@variant(
    "M-36",
    "a leaf that the host has no room for is tried again and again (U-5)",
    CRASH,
)
class RetriesForEver(TorchCache):
    """Where the wrong rule would never end, the variant stops itself."""

    def _evict_component(self, component: str, count: int, freed: Freed) -> None:
        super()._evict_component(component, count, freed)
        left = [n for n in self.device_lists[component] if not n.value(component).lock]
        if freed[component] < count and left:
            raise InternalError(f"eviction of {component} data never ends")


@variant(
    "M-40",
    "write-back demotes a leaf before its copy ran",
    "write-back-waits-for-its-copies",
    "pending-writes-keep-their-source",
    "host-slots-hold-their-prefix",
)
class DoesNotWait(TorchCache):
    def _drain_writes(self) -> None:
        pass


@variant(
    "M-36b",
    "an eviction gives up at the first leaf that the host has no room for",
    "eviction-makes-progress",
)
class GivesUpAtTheFirstRefusal(TorchCache):
    def _evict_component(self, component: str, count: int, freed: Freed) -> None:
        if not self.stuck:
            super()._evict_component(component, count, freed)
