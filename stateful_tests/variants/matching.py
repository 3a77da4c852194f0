"""Wrong matches."""

from __future__ import annotations

from collections.abc import Callable

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node, Value
from radixproof.stateful_tests.variants.variant import variant

_WRONG = (
    "a-match-finds-the-longest-usable-prefix",
    "requests-read-their-own-prefix",
    "an-admitted-request-holds-its-prefix",
    "an-admission-reports-what-a-match-would",
)
"""An admission is a match: where it reports the wrong hit first, it is the same wrong rule."""


@variant("M-25", "the SWA validator does not start anew after a gap", *_WRONG)
class IgnoresGaps(TorchCache):
    def _swa_run(self, run: float, node: Node, present: bool) -> float:
        return run + len(node.key) if present else run


@variant(
    "M-25b",
    "the SWA validator wants a whole window even at the root",
    *_WRONG,
    "device-slots-have-one-owner",
)
class LosesShortPrefixes(TorchCache):
    """A request finds less than there is, at admission or in the re-match after its insert.

    In the second case its slots get two owners.
    """

    def _swa_run_at_root(self) -> float:
        return 0


@variant("M-26", "a validator that fails keeps SWA's from being asked", *_WRONG)
class StopsAtTheFirstFailedValidator(TorchCache):
    """Shown with a missing state: below a node without FULL data nothing is on device (I-6)."""

    def _deepest_valid(self, path: list[Node], present: Callable[[Value], bool]) -> Node:
        found, run = self.root, self._swa_run_at_root()
        for node in path:
            if not present(node.full) or (self.has_mamba and not present(node.mamba)):
                continue
            run = self._swa_run(run, node, present(node.swa))
            if not self.has_swa or run >= self.config.sliding_window:
                found = node
        return found


@variant(
    "M-27",
    "a match that diverges inside a node returns the lower part",
    *_WRONG,
    "handed-out-slots-are-the-paths",
)
class ReturnsTheLowerPart(TorchCache):
    def _descend(self, namespace: str, key: tuple[int, ...]) -> Node:
        node = super()._descend(namespace, key)
        below = list(node.children.values())
        exact = node.is_root or node.end == len(key) or len(below) != 1
        return node if exact else below[0]
