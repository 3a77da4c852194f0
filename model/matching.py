"""Looking a key up (domain.md 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.keys import floor_page
from radixproof.model.recency import refresh_match_times, refresh_path, refresh_window
from radixproof.model.state import State
from radixproof.model.tree import Page, Slots
from radixproof.model.windows import covering, valid_ends


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Lengths in tokens; nodes may be the root."""

    device_slots: Slots
    last_device_node: Page
    best_match_node: Page
    host_hit: int = 0
    swa_host_hit: int = 0
    mamba_host_hit: int = 0
    """1 if the state of the best match is on host only."""
    branching: int = 0
    """Tokens after which a run should checkpoint its state, so that the next match can use them."""


def match(state: State, namespace: str, tokens: tuple[int, ...]) -> MatchResult:
    """The longest prefix that is usable from the device, and from device and host together."""
    tree, root = state.tree, state.tree.root
    tokens = tokens[: floor_page(len(tokens), tree.page_size)]
    if not tokens or state.config.disable:
        return MatchResult((), root, root)
    page, _ = tree.descend(namespace, tokens)
    if page.record is None:
        tree.split(page)
    path = tree.path(page)
    device = last_valid(state, path, [""]) or root
    best = (last_valid(state, path, ["", "host_"]) or root) if state.config.has_host else device
    if state.config.has_swa:
        refresh_window(state, best)
    if state.config.has_mamba:
        refresh_path(state, best)
    refresh_match_times(state, best)
    return MatchResult(
        device_slots=prefix_slots(state, device),
        last_device_node=device,
        best_match_node=best,
        host_hit=host_hit(state, device, best),
        swa_host_hit=swa_host_hit(state, best),
        mamba_host_hit=int(host_only(best, MAMBA)),
        branching=branching(state, path[-1] if path else root, device),
    )


def last_valid(state: State, path: list[Page], tiers: list[str]) -> Page | None:
    """The deepest node of a path at which every component's validator holds.

    ``tiers`` are the pool prefixes that count as present: device ``""``, host ``"host_"``.
    """

    def present(node: Page, component: str) -> bool:
        return any(tier + component in node.held for tier in tiers)

    full = [present(n, FULL) for n in path]
    valid = full
    if state.config.has_swa:
        parts = [(state.tree.length(n), present(n, SWA)) for n in path]
        swa = valid_ends(parts, state.config.sliding_window)
        valid = [f and s for f, s in zip(full, swa, strict=True)]
    if state.config.has_mamba:
        valid = [v and present(n, MAMBA) for v, n in zip(valid, path, strict=True)]
    return next((n for n, v in zip(reversed(path), reversed(valid), strict=True) if v), None)


def prefix_slots(state: State, node: Page) -> Slots:
    """The FULL slots of ``path(node)``, one per token."""
    return tuple(s for n in state.tree.path(node) for s in state.tree.held(n, FULL) or ())


def host_hit(state: State, device: Page, best: Page) -> int:
    """Tokens below ``device`` down to ``best`` with a FULL host value, on device or not (U-9)."""
    tree = state.tree
    return sum(
        tree.length(n)
        for n in tree.upwards(best)
        if len(n.tokens) > len(device.tokens) and "host_full" in n.held
    )


def swa_host_hit(state: State, best: Page) -> int:
    """Tokens of the nodes in the window of ``best`` whose SWA is on host only."""
    if not state.config.has_swa:
        return 0
    return sum(state.tree.length(n) for n in window_nodes(state, best) if host_only(n, SWA))


def host_only(node: Page, component: str) -> bool:
    return component not in node.held and f"host_{component}" in node.held


def branching(state: State, seen: Page, device: Page) -> int:
    """Where states are chunked: the last chunk end within the KV that was seen but is not usable.

    Without a host tier only (6.1); 0: nothing beyond the usable prefix, or no whole chunk.
    """
    config = state.config
    if not config.has_mamba or config.has_host or len(seen.tokens) <= len(device.tokens):
        return 0
    return floor_page(len(seen.tokens), config.mamba_chunk_size)


def window_nodes(state: State, node: Page) -> list[Page]:
    """The nodes from ``node`` upwards that cover its window."""
    nodes = list(state.tree.upwards(node))
    lengths = [state.tree.length(n) for n in nodes]
    return nodes[: covering(lengths, state.config.sliding_window)]
