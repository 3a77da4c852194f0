"""Contracts of the model's pure functions (domain.md 0.5, 4.7, 5.1, 5.2, 5.7, 6.1, 6.2, 6.9).

One function a contract: the asserts it begins with are its preconditions, every other one, and in
any case the last, is what is promised. That is the form in which CrossHair analyses a function
symbolically, in which a counterexample is replayed, and in which Hypothesis draws arguments for it.

Numbers are unbounded unless a precondition says otherwise; page sizes are those in use, since a
remainder by an unknown number is beyond the solver, and sequences are short, so that their paths
can be exhausted. Promises about sequences are stated token by token: the symbolic
``a[:n] == b[:n]`` of CrossHair 0.0.113 can be false where it is true (``replay.py``).
"""

from __future__ import annotations

from radixproof.model.keys import ceil_page, common_prefix, floor_page
from radixproof.model.payload import next_tag, tags
from radixproof.model.windows import (
    covering,
    duplicate_range,
    frontier_split,
    slid_frontier,
    valid_ends,
    window_cap,
)

Key = tuple[int, ...]

PAGE_SIZES = (1, 2, 4)
LONGEST = 3
"""Elements of a sequence."""
TOKENS = 1 << 31
"""More than any sequence has, and than any token is."""

FEW_TAGS = (0, 1, (1 << 48) - 1)
FEW_TOKENS = (0, 1)
SOME_TOKENS = (0, 1, 2, TOKENS - 1)
"""What the hash chain is tried on path by path; of all numbers its product is beyond the solver."""

# Page alignment


def the_floor_is_the_largest_whole_number_of_pages(length: int, page_size: int) -> None:
    assert length >= 0
    assert page_size in PAGE_SIZES
    floor = floor_page(length, page_size)
    assert floor % page_size == 0
    assert 0 <= floor <= length < floor + page_size


def the_ceiling_is_the_smallest_whole_number_of_pages(length: int, page_size: int) -> None:
    assert length >= 0
    assert page_size in PAGE_SIZES
    ceiling = ceil_page(length, page_size)
    assert ceiling % page_size == 0
    assert ceiling - page_size < length <= ceiling


# Prefix match


def keys_agree_up_to_their_common_prefix(a: Key, b: Key, page_size: int) -> None:
    assert len(a) <= LONGEST
    assert len(b) <= LONGEST
    assert page_size in PAGE_SIZES
    length = common_prefix(a, b, page_size)
    assert length % page_size == 0
    assert 0 <= length <= min(len(a), len(b))
    assert all(a[i] == b[i] for i in range(length))


def keys_differ_in_the_page_after_their_common_prefix(a: Key, b: Key, page_size: int) -> None:
    assert len(a) <= LONGEST
    assert len(b) <= LONGEST
    assert page_size in PAGE_SIZES
    end = common_prefix(a, b, page_size) + page_size
    shorter = min(len(a), len(b))
    assert end > shorter or any(a[i] != b[i] for i in range(end - page_size, end))


# Split arithmetic


def a_capped_leaf_keeps_one_window_of_whole_pages(pages: int, window: int, page_size: int) -> None:
    assert pages >= 1
    assert window >= 1
    assert page_size in PAGE_SIZES
    length = pages * page_size
    cap = window_cap(length, window, page_size)
    if cap is None:
        assert length < window + page_size
    else:
        assert 0 < cap < length
        assert window <= length - cap < window + page_size


# Duplicate range


def a_duplicate_is_neither_protected_nor_consumed(
    start: int, consumed: int, protected: int, token: int
) -> None:
    """Of a node's incoming slots exactly those are freed that nobody has and nobody took."""
    assert start >= 0
    assert consumed >= 0
    assert protected >= 0
    assert token >= 0
    begin, end = duplicate_range(start, consumed, protected)
    assert begin >= 0
    assert (begin <= token < end) == (start + token >= protected and token < consumed)


# SWA frontier branches


def the_frontier_cuts_a_node_where_the_window_begins(
    start: int, length: int, swa_evicted: int
) -> None:
    assert start >= 0
    assert length >= 1
    assert swa_evicted >= 0
    outside = frontier_split(start, length, swa_evicted)
    if outside is None:
        assert swa_evicted >= start + length
    elif outside == 0:
        assert swa_evicted <= start
    else:
        assert outside < length
        assert start + outside == swa_evicted


def a_sliding_frontier_stays_behind_the_window(
    swa_evicted: int, protected: int, committed: int, window: int, page_size: int
) -> None:
    assert page_size in PAGE_SIZES
    assert window >= 1
    assert committed >= 0
    assert swa_evicted >= 0
    assert protected >= 0
    assert swa_evicted % page_size == 0
    assert protected % page_size == 0
    frontier = slid_frontier(swa_evicted, protected, committed, window, page_size)
    floor = max(swa_evicted, protected)
    assert frontier % page_size == 0
    assert frontier >= floor
    assert frontier == floor or frontier + page_size + window <= committed


# Window lock extent


def a_window_lock_counts_the_fewest_nodes_that_cover_it(
    lengths: tuple[int, ...], window: int
) -> None:
    assert window >= 1
    assert len(lengths) <= LONGEST
    assert all(1 <= length < TOKENS for length in lengths)
    count = covering(lengths, window)
    assert 0 <= count <= len(lengths)
    assert count == len(lengths) or sum(lengths[i] for i in range(count)) >= window
    assert sum(lengths[i] for i in range(count - 1)) < window


# Validators


def without_a_gap_every_end_is_valid(lengths: tuple[int, ...], window: int) -> None:
    assert window >= 1
    assert len(lengths) <= LONGEST
    assert all(1 <= length < TOKENS for length in lengths)
    assert all(valid_ends([(length, True) for length in lengths], window))


def after_a_gap_a_window_must_follow(above: int, below: tuple[int, ...], window: int) -> None:
    """A node without data, and nodes with data below it."""
    assert window >= 1
    assert above >= 1
    assert len(below) <= LONGEST
    assert all(1 <= length < TOKENS for length in below)
    valid = valid_ends([(above, False), *((length, True) for length in below)], window)
    assert not valid[0]
    run = 0
    for length, end in zip(below, valid[1:], strict=True):
        run += length
        assert end == (run >= window)


# Hash chain


def a_chain_goes_on_where_it_was_left(previous: int, first: Key, rest: Key) -> None:
    """The tags of a prefix are the same whether it is written at once or in two chunks."""
    assert 0 <= previous < 1 << 48
    assert len(first) + len(rest) <= LONGEST
    assert all(0 <= token < TOKENS for token in first)
    assert all(0 <= token < TOKENS for token in rest)
    whole, start = tags(previous, (*first, *rest)), tags(previous, first)
    after = tags(start[-1] if start else previous, rest)
    assert len(whole) == len(first) + len(rest)
    assert all(whole[i] == start[i] for i in range(len(first)))
    assert all(whole[len(first) + i] == after[i] for i in range(len(rest)))


def a_tag_is_48_bits_and_marks_written_memory(previous: int, token: int) -> None:
    assert 0 <= previous < 1 << 48
    assert 0 <= token < TOKENS
    assert 0 < next_tag(previous, token) < 1 << 48


def a_chain_of_few_tags_goes_on_where_it_was_left(previous: int, first: Key, rest: Key) -> None:
    """The same for a few tags and two tokens, one by one: no product is left to the solver."""
    assert previous in FEW_TAGS
    assert len(first) + len(rest) <= LONGEST
    assert all(token in FEW_TOKENS for token in first)
    assert all(token in FEW_TOKENS for token in rest)
    begin = one_of(previous, FEW_TAGS)
    head = tuple(one_of(token, FEW_TOKENS) for token in first)
    tail = tuple(one_of(token, FEW_TOKENS) for token in rest)
    start = tags(begin, head)
    assert tags(begin, (*head, *tail)) == start + tags(start[-1] if start else begin, tail)


def a_tag_of_few_is_48_bits_and_marks_written_memory(previous: int, token: int) -> None:
    assert previous in FEW_TAGS
    assert token in SOME_TOKENS
    tag = next_tag(one_of(previous, FEW_TAGS), one_of(token, SOME_TOKENS))
    assert 0 < tag < 1 << 48


def one_of(number: int, values: tuple[int, ...]) -> int:
    """The value that the number is: a path each, on which it is no symbol any more."""
    return next(value for value in values if value == number)


CONTRACTS = (
    the_floor_is_the_largest_whole_number_of_pages,
    the_ceiling_is_the_smallest_whole_number_of_pages,
    keys_agree_up_to_their_common_prefix,
    keys_differ_in_the_page_after_their_common_prefix,
    a_capped_leaf_keeps_one_window_of_whole_pages,
    a_duplicate_is_neither_protected_nor_consumed,
    the_frontier_cuts_a_node_where_the_window_begins,
    a_sliding_frontier_stays_behind_the_window,
    a_window_lock_counts_the_fewest_nodes_that_cover_it,
    without_a_gap_every_end_is_valid,
    after_a_gap_a_window_must_follow,
    a_chain_goes_on_where_it_was_left,
    a_tag_is_48_bits_and_marks_written_memory,
    a_chain_of_few_tags_goes_on_where_it_was_left,
    a_tag_of_few_is_48_bits_and_marks_written_memory,
)
