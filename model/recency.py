"""Who was used when (domain.md 5.1)."""

from __future__ import annotations

from radixproof.model.config import MAMBA, SWA
from radixproof.model.state import State
from radixproof.model.tree import Page
from radixproof.model.windows import covering


def touch(state: State, node: Page) -> None:
    """An insert walks over a node. SWA lists stay: ancestors must remain cheap to evict."""
    node.node.accessed = (state.tree.tick(), 0)
    if MAMBA in node.held:
        node.node.recency[MAMBA] = state.tree.front()


def refresh_window(state: State, node: Page) -> None:
    """The nodes of one window and a page, from ``node`` upwards, become most recent for SWA.

    ``node`` comes first in the list, its parent next, and so on.
    """
    tree, config = state.tree, state.config
    nodes = list(tree.upwards(node))
    reach = covering([tree.length(n) for n in nodes], config.sliding_window + config.page_size)
    for n in reversed(nodes[:reach]):
        if SWA in n.held:
            n.node.recency[SWA] = tree.front()


def refresh_path(state: State, node: Page) -> None:
    """All states on the path become most recent for MAMBA, the deepest first in the list."""
    for n in state.tree.path(node):
        if MAMBA in n.held:
            n.node.recency[MAMBA] = state.tree.front()


def refresh_match_times(state: State, node: Page) -> None:
    """The matched path is accessed now, parents slightly earlier than their children."""
    now = state.tree.tick()
    for distance, n in enumerate(state.tree.upwards(node)):
        n.node.accessed = (now, -distance)
