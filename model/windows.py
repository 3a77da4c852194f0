"""The sliding window: pure functions of lengths and positions (domain.md 5.1, 5.7, 6.1, 6.2, 6.9).

Lengths and positions are in tokens. None of these functions knows a tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from radixproof.model.keys import ceil_page, floor_page


def valid_ends(parts: Iterable[tuple[int, bool]], window: int) -> list[bool]:
    """The SWA validator along a path (6.1).

    ``parts`` are (length, has SWA data), root to leaf. A path without a gap from the root is
    valid anywhere; after a gap, ``window`` contiguous tokens must accumulate first.
    """
    run: float = math.inf
    valid = []
    for length, present in parts:
        run = run + length if present else 0
        valid.append(present and run >= window)
    return valid


def covering(lengths: Sequence[int], window: int) -> int:
    """How many leading ``lengths`` (leaf to root) a window lock counts on (5.7).

    Nodes are counted until ``window`` tokens are covered, or all of them if they do not suffice.
    """
    covered = 0
    for count, length in enumerate(lengths):
        if covered >= window:
            return count
        covered += length
    return len(lengths)


def frontier_split(start: int, length: int, swa_evicted: int) -> int | None:
    """Where the SWA frontier cuts a node: how many of its tokens lie outside the window.

    0: the whole node is inside; ``None``: none of it is (6.2.3, 6.2.4, 6.2.7).
    """
    outside = max(0, swa_evicted - start)
    return outside if outside < length else None


def duplicate_range(start: int, consumed: int, protected: int) -> tuple[int, int]:
    """Which of the incoming slots of a node at ``start`` are duplicates to free (6.2.4).

    From the first token that was not protected, up to what the node did not consume itself:
    places in the node, empty where the second is not above the first.
    """
    return max(0, protected - start), consumed


def window_cap(length: int, window: int, page_size: int) -> int | None:
    """Where a fresh leaf is split so that a lock on it pins one window of SWA (6.2.7)."""
    cap = ceil_page(window, page_size)
    return length - cap if length > cap else None


def slid_frontier(
    swa_evicted: int, protected: int, committed: int, window: int, page_size: int
) -> int:
    """The new ``swa_evicted`` of a request whose window slides (6.9).

    One page more than the window stays, so that the finishing insert ends inside a live page.
    """
    floor = max(swa_evicted, protected)
    return floor_page(max(floor, committed - window - page_size), page_size)
