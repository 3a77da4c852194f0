"""The pure functions of the sliding window, each against a plainer statement of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from radixproof.model.keys import ceil_page, common_prefix, floor_page
from radixproof.model.windows import (
    covering,
    frontier_split,
    slid_frontier,
    valid_ends,
    window_cap,
)

windows = st.integers(1, 9)
page_sizes = st.sampled_from([1, 2, 4])
paths = st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8)


@given(paths, windows)
def test_a_path_end_is_valid_iff_the_window_behind_it_has_no_gap(
    path: list[tuple[int, bool]], window: int
) -> None:
    tokens: list[bool] = []
    expected = []
    for length, present in path:
        tokens += [present] * length
        # After a gap a whole window must follow; without one the path may be shorter than it.
        expected.append(all(tokens[-window:]) and (len(tokens) >= window or all(tokens)))
    assert valid_ends(path, window) == expected


@given(st.lists(st.integers(1, 5), max_size=8), windows)
def test_a_window_lock_counts_the_fewest_nodes_that_cover_it(
    lengths: list[int], window: int
) -> None:
    count = covering(lengths, window)
    assert sum(lengths[:count]) >= window or count == len(lengths)
    assert count == 0 or sum(lengths[: count - 1]) < window


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 30))
def test_the_frontier_cuts_a_node_where_the_window_begins(
    start: int, length: int, swa_evicted: int
) -> None:
    inside = [position >= swa_evicted for position in range(start, start + length)]
    assert frontier_split(start, length, swa_evicted) == (
        inside.index(True) if any(inside) else None
    )


@given(st.integers(1, 40), windows, page_sizes)
def test_the_window_cap_leaves_one_window_of_whole_pages(
    pages: int, window: int, page_size: int
) -> None:
    length = pages * page_size
    cap = window_cap(length, window, page_size)
    tail = length - (cap or 0)
    assert tail % page_size == 0
    assert tail < window + page_size or cap is not None
    assert cap is None or (cap > 0 and window <= tail < window + page_size)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 60), windows, page_sizes)
def test_sliding_keeps_the_window_and_a_page(
    evicted: int, protected: int, committed: int, window: int, page_size: int
) -> None:
    evicted, protected = evicted * page_size, protected * page_size
    frontier = slid_frontier(evicted, protected, committed, window, page_size)
    assert frontier % page_size == 0
    assert frontier >= max(evicted, protected)
    assert frontier == max(evicted, protected) or frontier <= committed - window - page_size


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)), page_sizes)
def test_keys_match_over_whole_pages_only(a: list[int], b: list[int], page_size: int) -> None:
    length = common_prefix(a, b, page_size)
    assert length % page_size == 0
    assert a[:length] == b[:length]
    assert a[: length + page_size] != b[: length + page_size] or min(len(a), len(b)) < (
        length + page_size
    )


@given(st.integers(0, 99), page_sizes)
def test_page_rounding_brackets_a_length(length: int, page_size: int) -> None:
    assert floor_page(length, page_size) <= length <= ceil_page(length, page_size)
    assert ceil_page(length, page_size) - floor_page(length, page_size) in (0, page_size)
