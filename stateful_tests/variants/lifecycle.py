"""Wrong lives of requests: our own, beyond domain.md 9."""

from __future__ import annotations

from dataclasses import replace

from radixproof.impl.torch_cache.admission import Candidate, Request
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.insertion import Incoming, Inserted
from radixproof.impl.torch_cache.matching import MatchResult
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.model import operations as op
from radixproof.model.config import SWA
from radixproof.stateful_tests.variants.variant import variant
from radixproof.stateful_tests.verdict import CRASH


@variant(
    "M-52",
    "a disabled cache still caches what is inserted",
    "a-disabled-cache-keeps-nothing",
)
class CachesThoughDisabled(TorchCache):
    def _insert(self, new: Incoming) -> Inserted:
        off = self.config.disable
        object.__setattr__(self.config, "disable", False)
        try:
            return super()._insert(new)
        finally:
            object.__setattr__(self.config, "disable", off)


@variant(
    "M-53",
    "what was matched is loaded without looking whether it is still there",
    CRASH,
    "receipts-refer-to-nodes-in-the-tree",
    "pending-loads-keep-both-ends",
    "an-admitted-request-holds-its-prefix",
    "an-admitted-request-gets-its-prefixs-state",
)
class TrustsAnOldMatch(TorchCache):
    def _prepare(
        self, name: str, namespace: str, tokens: tuple[int, ...], priority: int
    ) -> MatchResult:
        found = super()._prepare(name, namespace, tokens, priority)
        if not hasattr(self, "_bests"):
            self._bests: dict[Candidate, Node] = {}
        self._bests[self.candidates[name]] = found.best
        return found

    def _best_now(self, waiting: Candidate) -> Node:
        return self._bests[waiting]


@variant(
    "M-54",
    "a retracted request forgets the output it has shown",
    "a-retracted-request-waits-with-all-its-tokens",
)
class ForgetsTheOutput(TorchCache):
    def _retract(self, request: Request) -> MatchResult:
        request.tokens = request.tokens[: request.prompt_len]
        return super()._retract(request)


@variant(
    "M-55",
    "the window is given back while the next token still attends to the prefix",
    "an-early-release-keeps-the-kv",
)
class ReleasesTheWindowTooEarly(TorchCache):
    def _window_left_prefix(self, request: Request) -> bool:
        return True


@variant(
    "M-76",
    "the window is never given back early",
    "an-early-release-that-is-due-is-made",
)
class NeverReleasesTheWindow(TorchCache):
    def _window_left_prefix(self, request: Request) -> bool:
        return False


@variant(
    "M-55b",
    "an early release leaves the state locked without its window (U-10)",
    "state-locks-never-exceed-window-locks",
    "an-early-release-keeps-the-kv",
)
class KeepsTheStateLocked(TorchCache):
    def _release_window(self, receipt: Receipt) -> None:
        held = receipt.state
        receipt.state = False
        super()._release_window(receipt)
        receipt.state = held


@variant(
    "M-61",
    "a request that comes twice is refused and more urgent from then on",
    "errors-change-nothing",
)
class RaisesWhoComesTwice(TorchCache):
    def _require_new(self, name: str) -> None:
        waiting = self.candidates.get(name)
        if waiting is not None:
            self.candidates[name] = replace(waiting, priority=waiting.priority + 1)
        super()._require_new(name)


@variant(
    "M-62",
    "an insert without memory makes host windows recent",
    "a-refused-insert-changes-nothing",
)
class TouchesWhatItCannotInsert(TorchCache):
    def insert(self, o: op.Insert) -> Inserted | None:
        inserted = super().insert(o)
        windows = self.host_lists.get(SWA) if inserted is None else None
        for node in list(windows)[-1:] if windows is not None else ():
            self.host_lists[SWA].push_front(node.swa.host_link)
        return inserted


@variant(
    "M-63",
    "a request that finishes makes the others more urgent",
    "other-requests-are-left-alone",
)
class RaisesWhoStays(TorchCache):
    def _finish(self, request: Request) -> int:
        prefix_len = super()._finish(request)
        for other in self.requests.values():
            other.priority += 1
        return prefix_len


@variant(
    "M-70",
    "a chunk makes room in FULL and not in SWA (SGLang 27391)",
    "tokens-that-fit-are-not-refused",
)
class MakesNoRoomForWindows(TorchCache):
    def _shortage(self, need: int) -> dict[str, int]:
        return super()._shortage(need) | {SWA: 0}
