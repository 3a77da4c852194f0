"""Device and host locks (domain.md 5.7, 5.8): a receipt covers a range of tokens of a path."""

from __future__ import annotations

from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.matching import host_only, window_nodes
from radixproof.model.state import DEVICE, HOST, Receipt, State
from radixproof.model.tree import Page


def lock(state: State, node: Page, owner: str, name: str = "") -> Receipt:
    """Forbid device eviction: FULL on the whole path, SWA on one window, MAMBA on the node."""
    return _live(state, DEVICE, owner, name, node, None if node is state.tree.root else 0)


def host_lock(state: State, node: Page, owner: str, name: str = "") -> Receipt:
    """Forbid host eviction: FULL on the node if it is backed up, SWA on one window, MAMBA on it."""
    start = state.tree.start(node) if "host_full" in node.held else None
    return _live(state, HOST, owner, name, node, start)


def unlock(state: State, receipt: Receipt) -> None:
    """Give a receipt back. Host-only nodes that nobody host-locks any more become reclaimable."""
    covered = {SWA: [n for n in state.tree.upwards(receipt.anchor) if _covers(state, receipt, n)]}
    covered[MAMBA] = [receipt.anchor] if receipt.state else []
    state.receipts.remove(receipt)
    state.receipts_changed()
    if receipt.tier == HOST:
        for component, nodes in covered.items():
            for node in nodes:
                if host_only(node, component) and not state.lock_count(node, component, HOST):
                    node.node.recency[f"host_{component}"] = state.tree.front()


def release_window(state: State, receipt: Receipt) -> None:
    """Give back the auxiliary part of a device receipt; FULL stays locked."""
    receipt.swa_start, receipt.state = None, False
    state.receipts_changed()


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


def _live(
    state: State, tier: str, owner: str, name: str, node: Page, full_start: int | None
) -> Receipt:
    holds_state = state.config.has_mamba and node is not state.tree.root
    window = window_start(state, node)
    receipt = Receipt(tier, owner, name, node, full_start, window, holds_state)
    state.receipts.append(receipt)
    state.receipts_changed()
    return receipt


def _covers(state: State, receipt: Receipt, node: Page) -> bool:
    return receipt.swa_start is not None and state.tree.start(node) >= receipt.swa_start
