"""Who was used when (domain.md 5.1)."""

from __future__ import annotations

from radixproof.impl.torch_cache.hashes import Hashes
from radixproof.impl.torch_cache.node import Node
from radixproof.model.config import MAMBA, SWA


class Recency(Hashes):
    """Access times for FULL eviction, list positions for the other components."""

    def _touch(self, node: Node) -> None:
        """An insert walks over a node; SWA lists stay as they are."""
        node.accessed = (self._tick(), 0)
        if node.mamba.device is not None:
            self.device_lists[MAMBA].push_front(node.mamba.link)

    def _window(self, node: Node, tokens: int) -> list[Node]:
        """The nodes from ``node`` upwards until ``tokens`` are covered."""
        nodes: list[Node] = []
        covered = 0
        while not node.is_root and covered < tokens:
            nodes.append(node)
            covered += len(node.key)
            node = node.above
        return nodes

    def _refresh_swa_list(self, node: Node) -> None:
        """One window and a page from ``node`` upwards becomes most recent, ``node`` first."""
        for n in reversed(self._window(node, self.config.sliding_window + self.page)):
            if n.swa.device is not None:
                self.device_lists[SWA].push_front(n.swa.link)

    def _refresh_mamba_list(self, node: Node) -> None:
        """All states on the path become most recent, the deepest first in the list."""
        for n in reversed(node.upwards()):
            if n.mamba.device is not None:
                self.device_lists[MAMBA].push_front(n.mamba.link)

    def _refresh_match_times(self, node: Node) -> None:
        """The matched path is accessed now, parents slightly earlier than their children."""
        now = self._tick()
        for distance, n in enumerate(node.upwards()):
            n.accessed = (now, -distance)
