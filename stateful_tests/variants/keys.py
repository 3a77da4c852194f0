"""Wrong keys: our own, beyond domain.md 9."""

from __future__ import annotations

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.model.units import BITS
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH


@variant(
    "M-57",
    "with bigram keys the last token makes a pair of its own",
    "an-insert-reports-what-the-tree-had",
    "an-inserted-key-is-on-device",
    "an-admission-reports-what-a-match-would",
    "a-match-finds-the-longest-usable-prefix",
    "a-prefilled-chunk-is-cached-and-held",
    "an-insert-counts-at-most-one-hit",
    "an-insert-touches-only-its-own-path",
    "an-insert-raises-priorities-on-its-path-only",
    "device-slots-hold-their-prefix",
    CRASH,
)
class PairsTheLastToken(TorchCache):
    def _units(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        pairs = super()._units(tokens)
        last = (tokens[-1] + 1 << BITS,) if tokens else ()
        return (*pairs, *last) if self.config.bigram else pairs
