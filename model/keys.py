"""Page arithmetic and key comparison (domain.md 0.5, 5.2)."""

from __future__ import annotations

from collections.abc import Sequence


def floor_page(length: int, page_size: int) -> int:
    """The largest multiple of ``page_size`` that is at most ``length`` (tokens)."""
    return length - length % page_size


def ceil_page(length: int, page_size: int) -> int:
    """The smallest multiple of ``page_size`` that is at least ``length`` (tokens)."""
    return length + -length % page_size


def common_prefix(a: Sequence[int], b: Sequence[int], page_size: int) -> int:
    """Length of the common prefix in tokens, rounded down to whole pages."""
    length = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        length += 1
    return floor_page(length, page_size)
