"""Contracts that do not hold, and one that does although CrossHair may say otherwise."""

from __future__ import annotations

from radixproof.model.keys import ceil_page, floor_page
from radixproof.model.windows import covering


def the_ceiling_is_above(length: int, page_size: int) -> None:
    """It is not where the length is aligned."""
    assert length >= 0
    assert page_size in (1, 2, 4)
    assert ceil_page(length, page_size) > length


def the_floor_is_defined_without_pages(length: int, page_size: int) -> None:
    """A remainder by zero is an error."""
    assert length >= 0
    assert page_size >= 0
    assert floor_page(length, page_size) <= length


def a_window_lock_counts_one_node(lengths: tuple[int, ...], window: int) -> None:
    assert window >= 1
    assert len(lengths) <= 3
    assert all(length >= 1 for length in lengths)
    assert covering(lengths, window) <= 1


def nothing_equals_nothing(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """True; CrossHair 0.0.112 and 0.0.113 find a counterexample to it."""
    assert True
    assert a[:0] == b[:0]
