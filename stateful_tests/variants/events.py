"""Wrong KV events: our own, beyond domain.md 9."""

from __future__ import annotations

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node
from radixproof.model.blocks import CPU
from radixproof.stateful_tests.variants.variant import variant


@variant(
    "M-58",
    "demotion tells nobody that the block left the device",
    "events-tell-what-is-resident",
)
class DemotesSilently(TorchCache):
    def _emit_removed(self, medium: str, node: Node) -> None:
        if medium == CPU or node.full.host is None:
            super()._emit_removed(medium, node)


@variant(
    "M-58b",
    "page hashes leave out the namespace (U-17)",
    "events-tell-what-is-resident",
)
class HashesWithoutTheNamespace(TorchCache):
    def _digest_above(self, node: Node) -> bytes:
        return b"" if node.above.is_root else super()._digest_above(node)


@variant(
    "M-58c",
    "a split forgets which digests were its upper part's",
    "events-tell-what-is-resident",
)
class KeepsDigestsBelow(TorchCache):
    def _split_digests(self, lower: Node, upper: Node, pages: int) -> None:
        pass
