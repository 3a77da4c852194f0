"""Segment locks with receipts, on device and host (domain.md 5.7, 5.8)."""

from __future__ import annotations

from radixproof.impl.torch_cache.errors import InternalError
from radixproof.impl.torch_cache.node import Node, Receipt
from radixproof.impl.torch_cache.recency import Recency
from radixproof.model.config import FULL, MAMBA, SWA

DEVICE = "device"
HOST = "host"


class Locks(Recency):
    """A lock counts on nodes once; the receipt says up to where, so release is exact."""

    def _acquire(self, node: Node, owner: str, name: str = "") -> tuple[Receipt, int]:
        """Forbid device eviction: FULL on the path, SWA on one window, MAMBA on the node.

        Returns the receipt and how many FULL tokens became protected.
        """
        path = node.upwards()
        window = self._locked_window(node)
        delta = sum(self._count_device(n, FULL, 1) for n in path)
        for n in self._counted_window(window):
            self._count_device(n, SWA, 1)
        if self._locks_state(node):
            self._count_device(node, MAMBA, 1)
        self._refresh_leaf_sets(*path)
        receipt = self._receipt(DEVICE, owner, name, node, path, window)
        return receipt, delta

    def _acquire_host(self, node: Node, owner: str, name: str = "") -> Receipt:
        """Forbid host eviction: FULL on the node if backed up, SWA on one window, MAMBA on it."""
        own = [node] if node.full.host is not None else []
        window = self._locked_window(node)
        for n in own:
            n.full.host_lock += 1
        for n in window:
            n.swa.host_lock += 1
            self.host_lists[SWA].remove(n.swa.host_link)
        if self._locks_state(node):
            node.mamba.host_lock += 1
            self.host_lists[MAMBA].remove(node.mamba.host_link)
        self._refresh_leaf_sets(node, *window)
        return self._receipt(HOST, owner, name, node, own, window)

    def _locks_state(self, node: Node) -> bool:
        return self.has_mamba and not node.is_root

    def _locked_window(self, node: Node) -> list[Node]:
        return self._window(node, self.config.sliding_window) if self.has_swa else []

    def _counted_window(self, window: list[Node]) -> list[Node]:
        """A lock counts on tombstones too: they may be revived while it lives (U-2)."""
        return window

    def _receipt(
        self, tier: str, owner: str, name: str, node: Node, full: list[Node], swa: list[Node]
    ) -> Receipt:
        tops = (full[-1] if full else None, swa[-1] if swa else None)
        receipt = Receipt(tier, owner, name, node, *tops, self._locks_state(node))
        for top in {id(t): t for t in (receipt.full_top, receipt.swa_top) if t}.values():
            top.tops.append(receipt)
        self.receipts[receipt] = None
        return receipt

    def _release(self, receipt: Receipt) -> None:
        """Undo exactly what was counted, whatever was split or dropped meanwhile."""
        del self.receipts[receipt]
        full = self._segment(receipt.anchor, receipt.full_top)
        swa = self._swa_segment(receipt)
        for top in {id(t): t for t in (receipt.full_top, receipt.swa_top) if t}.values():
            top.tops.remove(receipt)
        if receipt.tier == DEVICE:
            for n in full:
                self._count_device(n, FULL, -1)
            for n in swa:
                self._count_device(n, SWA, -1)
            if receipt.state:
                self._count_device(receipt.anchor, MAMBA, -1)
        else:
            for n in full:
                n.full.host_lock -= 1
            for n in swa:
                n.swa.host_lock -= 1
                self._list_host_only(n, SWA)
            if receipt.state:
                receipt.anchor.mamba.host_lock -= 1
                self._list_host_only(receipt.anchor, MAMBA)
        self._refresh_released([*full, *swa, receipt.anchor])

    def _release_window(self, receipt: Receipt) -> None:
        """Give back the auxiliary part of a device receipt; FULL stays locked."""
        for n in self._swa_segment(receipt):
            self._count_device(n, SWA, -1)
        if receipt.state:
            self._count_device(receipt.anchor, MAMBA, -1)
        top = receipt.swa_top
        if top is not None and top is not receipt.full_top:
            top.tops.remove(receipt)
        receipt.swa_top, receipt.state = None, False

    def _refresh_released(self, nodes: list[Node]) -> None:
        """Only now, when all components are released, is eligibility decided (U-3)."""
        self._refresh_leaf_sets(*nodes)

    def _swa_segment(self, receipt: Receipt) -> list[Node]:
        """The nodes on which the receipt's SWA lock counts."""
        return self._segment(receipt.anchor, receipt.swa_top)

    def _segment(self, anchor: Node, top: Node | None) -> list[Node]:
        """The nodes from ``anchor`` up to ``top``; none without a top."""
        if top is None:
            return []
        nodes = [anchor]
        while nodes[-1] is not top:
            if nodes[-1].parent is None:
                raise InternalError("a receipt's segment left the tree")
            nodes.append(nodes[-1].above)
        return nodes

    def _count_device(self, node: Node, component: str, step: int) -> int:
        """One holder more or less; the tokens that changed between evictable and protected."""
        value = node.value(component)
        before = value.lock
        value.lock += step
        if value.lock < 0:
            raise InternalError(f"lock count of node {node.id} below zero")
        if value.device is None or (before > 0) == (value.lock > 0):
            return 0
        tokens = len(value.device)
        self.evictable[component] -= step * tokens
        self.protected[component] += step * tokens
        return tokens
