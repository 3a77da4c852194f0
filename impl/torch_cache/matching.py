"""Looking a key up (domain.md 6.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from radixproof.impl.torch_cache.insertion import Insertion
from radixproof.impl.torch_cache.memory import NO_SLOTS
from radixproof.impl.torch_cache.node import Node, Value


@dataclass(frozen=True, slots=True)
class MatchResult:
    """``device`` and ``best`` may be the root; hits are in tokens, slots are FULL slots."""

    device: Node
    best: Node
    slots: Tensor
    host_hit: int = 0
    swa_host_hit: int = 0
    mamba_host_hit: int = 0
    branching: int = 0


class Matching(Insertion):
    """The deepest node usable from the device, and from device and host together."""

    def _match(self, namespace: str, tokens: tuple[int, ...]) -> MatchResult:
        length = len(tokens) // self.page * self.page
        if not length or self.config.disable:
            return MatchResult(self.root, self.root, NO_SLOTS)
        node = self._descend(namespace, tokens[:length])
        path = node.upwards()[::-1]
        device = self._deepest_valid(path, on_device)
        best = self._deepest_valid(path, on_any_tier) if self.has_host else device
        if self.has_swa:
            self._refresh_swa_list(best)
        if self.has_mamba:
            self._refresh_mamba_list(best)
        self._refresh_match_times(best)
        return self._match_result(device, best, node)

    def _descend(self, namespace: str, key: tuple[int, ...]) -> Node:
        """The node that ends the longest prefix present; a node that diverges inside is split."""
        node, done = self.root, 0
        while done < len(key):
            child = node.children.get((namespace, key[done : done + self.page]))
            if child is None:
                break
            matched = self._common(child.key, key, done)
            if matched < len(child.key):
                return self._split(child, matched)
            node, done = child, child.end
        return node

    def _deepest_valid(self, path: list[Node], present: Callable[[Value], bool]) -> Node:
        """All validators advance over the whole path; the last node where all hold."""
        found = self.root
        run = self._swa_run_at_root()
        for node in path:
            full = present(node.full)
            run = self._swa_run(run, node, present(node.swa))
            state = present(node.mamba) or not self.has_mamba
            if full and state and (not self.has_swa or run >= self.config.sliding_window):
                found = node
        return found

    def _swa_run_at_root(self) -> float:
        """Without a gap from the root on, any length is usable."""
        return math.inf

    def _swa_run(self, run: float, node: Node, present: bool) -> float:
        """Contiguous SWA tokens up to the end of the node; a gap starts anew."""
        return run + len(node.key) if present else 0

    def _match_result(self, device: Node, best: Node, seen: Node) -> MatchResult:
        hits = self._hits(device, best)
        return MatchResult(
            device, best, self._path_slots(device), *hits, self._branching(device, seen)
        )

    def _hits(self, device: Node, best: Node) -> tuple[int, int, int]:
        """On host below the device prefix: FULL tokens (U-9), SWA tokens of the window, states."""
        full = sum(
            len(n.key) for n in best.upwards() if n.start >= device.end and n.full.host is not None
        )
        window = self._window(best, self.config.sliding_window) if self.has_swa else []
        swa = sum(len(n.key) for n in window if n.swa.device is None and n.swa.host is not None)
        return full, swa, int(best.mamba.device is None and best.mamba.host is not None)

    def _branching(self, device: Node, seen: Node) -> int:
        """Where a run should checkpoint to make usable next time what was of no use now."""
        if not self.has_mamba or self.has_host or seen.end <= device.end:
            return 0
        return seen.end // self.config.mamba_chunk_size * self.config.mamba_chunk_size

    def _path_slots(self, node: Node) -> Tensor:
        """The FULL slots of the whole prefix."""
        parts = [n.full.device for n in reversed(node.upwards()) if n.full.device is not None]
        return torch.cat(parts) if parts else NO_SLOTS


def on_device(value: Value) -> bool:
    return value.device is not None


def on_any_tier(value: Value) -> bool:
    return value.device is not None or value.host is not None
