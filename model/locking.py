"""Device and host locks (domain.md 5.7, 5.8): a receipt covers a range of tokens of a path."""

from __future__ import annotations

from radixproof.model.config import FULL
from radixproof.model.matching import swa_host_only, window_nodes
from radixproof.model.state import DEVICE, HOST, Receipt, State
from radixproof.model.tree import Page


def lock(state: State, node: Page, owner: str, name: str = "") -> Receipt:
    """Forbid device eviction: FULL on the whole path, SWA on one window."""
    rooted = node is state.tree.root
    receipt = Receipt(DEVICE, owner, name, node, None if rooted else 0, window_start(state, node))
    return _live(state, receipt)


def host_lock(state: State, node: Page, owner: str, name: str = "") -> Receipt:
    """Forbid host eviction: FULL on the node if it is backed up, SWA on one window."""
    start = state.tree.start(node) if "host_full" in node.held else None
    return _live(state, Receipt(HOST, owner, name, node, start, window_start(state, node)))


def unlock(state: State, receipt: Receipt) -> None:
    """Give a receipt back. Host-only nodes that nobody host-locks any more become reclaimable."""
    covered = [n for n in state.tree.upwards(receipt.anchor) if _covers_swa(state, receipt, n)]
    state.receipts.remove(receipt)
    state.receipts_changed()
    if receipt.tier == HOST:
        for node in covered:
            if swa_host_only(node) and not state.lock_count(node, "swa", HOST):
                node.node.recency["host_swa"] = state.tree.front()


def window_start(state: State, node: Page) -> int | None:
    """The first token of the topmost node that a window lock on ``node`` counts on."""
    if not state.config.has_swa or node is state.tree.root:
        return None
    return state.tree.start(window_nodes(state, node)[-1])


def protectable(state: State, node: Page) -> int:
    """FULL tokens that a device lock on ``node`` would make unevictable (``delta``)."""
    return sum(
        state.tree.length(n)
        for n in state.tree.upwards(node)
        if FULL in n.held and not state.lock_count(n, FULL, DEVICE)
    )


def _live(state: State, receipt: Receipt) -> Receipt:
    state.receipts.append(receipt)
    state.receipts_changed()
    return receipt


def _covers_swa(state: State, receipt: Receipt, node: Page) -> bool:
    return receipt.swa_start is not None and state.tree.start(node) >= receipt.swa_start
