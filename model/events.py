"""Emitting KV events (domain.md 6.14): one per page, parents stored first and removed last."""

from __future__ import annotations

from collections.abc import Iterable

from radixproof.model.blocks import CLEARED, REMOVED, STORED, Event, blocks
from radixproof.model.state import State
from radixproof.model.tree import Page


def emit_stored(state: State, medium: str, pages: Iterable[Page]) -> None:
    """Pages, root to leaf, whose FULL data is on a medium from now on."""
    if not state.config.kv_events:
        return
    size = state.config.page_size
    for page in pages:
        *above, block = blocks(page.namespace, page.tokens, size)
        parent = above[-1] if above else None
        state.events.append(Event(STORED, medium, block, parent, page.tokens[-size:]))


def emit_removed(state: State, medium: str, pages: list[Page]) -> None:
    """Pages, root to leaf, whose FULL data leaves a medium."""
    if not state.config.kv_events:
        return
    for page in reversed(pages):
        block = blocks(page.namespace, page.tokens, state.config.page_size)[-1]
        state.events.append(Event(REMOVED, medium, block))


def emit_cleared(state: State) -> None:
    if state.config.kv_events:
        state.events.append(Event(CLEARED))
