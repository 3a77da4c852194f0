"""Worked examples X-1, X-2, X-5, X-6, X-7, X-14, X-16, X-18 and X-23: one tier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.subject import OpenSubject
from radixproof.model.units import raw_tokens
from radixproof.stateful_tests.tests.notation import Example

FULL_ONLY = CacheConfig(
    components=(FULL,), full_slots=16, swa_slots=0, host_full_slots=0, host_swa_slots=0
)


def with_swa(window: int, page_size: int = 1) -> CacheConfig:
    slots = 16 * page_size
    return CacheConfig(
        page_size=page_size,
        sliding_window=window,
        full_slots=slots,
        swa_slots=slots,
        host_full_slots=0,
        host_swa_slots=0,
    )


def test_x1_insert_overlap_match_with_split(open_subject: OpenSubject) -> None:
    x = Example(open_subject, FULL_ONLY)
    assert x.insert(1, 2, 3, 4) == 0
    assert x.insert(1, 2, 5) == 2
    x.shows("""
        [1,2]  F d=(1,2) h=- L=0 | hit 2
          [3,4]  F d=(3,4) h=- L=0 | hit 1 | D
          [5]  F d=(7) h=- L=0 | hit 1 | D
    """)
    assert x.sizes(FULL) == (5, 0)
    former = x.state.nodes[1].id
    found = x.match(1, 2, 3, 9)
    assert found.slots == (1, 2, 3)
    assert found.values["device_hit"] == 3
    x.shows("""
        [1,2]  F d=(1,2) h=- L=0 | hit 2
          [3]  F d=(3) h=- L=0 | hit 1
            [4]  F d=(4) h=- L=0 | hit 1 | D
          [5]  F d=(7) h=- L=0 | hit 1 | D
    """)
    assert x.state.nodes[2].id == former


def test_x2_duplicates_of_a_protected_prefix(open_subject: OpenSubject) -> None:
    """The request computes in slots 4, 5, 6; meanwhile the tree got token 3 in slot 3."""
    x = Example(open_subject, FULL_ONLY)
    x.insert(1, 2, 3)
    x.do(op.Evict(1))  # so that the request matches [1,2] only, as in the example
    x.shows("")
    x.insert(1, 2)
    x.do(op.Admit("r", (1, 2, 3, 4, 5)))
    x.insert(1, 2, 3)
    shared = x.state.nodes[1].full.device
    assert x.do(op.Prefill("r", 3)).values["prefix_len"] == 3
    state = x.state
    (request,) = state.requests
    assert request.row[:2] == state.nodes[0].full.device
    assert request.row[2:3] == shared, "the duplicate of token 3 gave way to the tree's slot"
    assert x.free(FULL) == 16 - 5


def test_x5_tombstones_and_match_boundaries(open_subject: OpenSubject) -> None:
    x = Example(open_subject, with_swa(window=3))
    x.insert(1, 2, 3, 4)
    x.insert(1, 2, 3, 4, 5, 6)
    x.insert(1, 2, 3, 4, 5, 6, 7)
    assert x.evict(swa=1) == (0, 1)
    x.shows("""
        [1]  F d=(1) h=- L=0 | S d=- h=- L=0 | hit 2
          [2,3,4]  F d=(2,3,4) h=- L=0 | S d=(2,3,4) h=- L=0 | hit 3
            [5,6]  F d=(9,10) h=- L=0 | S d=(9,10) h=- L=0 | hit 2
              [7]  F d=(5) h=- L=0 | S d=(5) h=- L=0 | hit 1 | D
    """)
    assert (x.sizes(FULL), x.sizes(SWA)) == ((7, 0), (6, 0))
    assert x.match(1).slots == ()
    assert x.match(1, 2, 3, 4).slots == (1, 2, 3, 4)
    assert len(x.match(1, 2, 3, 4, 5, 6).slots) == 6
    assert len(x.match(1, 2, 3, 4, 5, 6, 7).slots) == 7
    assert len(x.match(1, 2, 3, 4, 5).slots) == 5


X6 = {
    "a: all inside the window": (
        0,
        False,
        """
        [1,2,3,4]  F d=(7,8,9,10) h=- L=0 | S d=(7,8,9,10) h=- L=0 | hit 1
          [5,6]  F d=(5,6) h=- L=0 | S d=(5,6) h=- L=0 | hit 1 | D
        """,
        (11, 12, 13, 14, 15, 16, 1, 2, 3, 4),
    ),
    "b: the window begins inside": (
        2,
        False,
        """
        [1,2]  F d=(1,2) h=- L=0 | S d=- h=- L=0 | hit 0
          [3,4]  F d=(9,10) h=- L=0 | S d=(9,10) h=- L=0 | hit 1
            [5,6]  F d=(5,6) h=- L=0 | S d=(5,6) h=- L=0 | hit 1 | D
        """,
        (11, 12, 13, 14, 15, 16, 3, 4, 7, 8),
    ),
    "b': all outside the window": (
        4,
        False,
        """
        [1,2,3,4]  F d=(1,2,3,4) h=- L=0 | S d=- h=- L=0 | hit 1
          [5,6]  F d=(5,6) h=- L=0 | S d=(5,6) h=- L=0 | hit 1 | D
        """,
        (11, 12, 13, 14, 15, 16, 7, 8, 9, 10),
    ),
    "c: FULL is locked": (
        0,
        True,
        """
        [1,2,3,4]  F d=(1,2,3,4) h=- L=1 | S d=(7,8,9,10) h=- L=1 | hit 1
          [5,6]  F d=(5,6) h=- L=0 | S d=(5,6) h=- L=0 | hit 1 | D
        """,
        (11, 12, 13, 14, 15, 16, 7, 8, 9, 10),
    ),
}


@pytest.mark.parametrize("branch", X6)
def test_x6_overlap_branches(open_subject: OpenSubject, branch: str) -> None:
    swa_evicted, locked, tree, free = X6[branch]
    x = Example(open_subject, with_swa(window=2))
    x.insert(1, 2, 3, 4, 5, 6)
    x.evict(swa=4)
    if locked:
        x.do(op.Lock("holder", (1, 2, 3, 4)))
    assert x.insert(1, 2, 3, 4, swa_evicted=swa_evicted) == 4
    x.shows(tree)
    assert x.state.pools[FULL].free_pages == free
    if locked:
        assert x.state.full_to_swa[1:11] == (7, 8, 9, 10, 5, 6, 0, 0, 0, 0)
        assert (x.sizes(FULL), x.sizes(SWA)) == ((2, 4), (2, 4))


def test_x7_window_lock_split_release(open_subject: OpenSubject) -> None:
    x = Example(open_subject, with_swa(window=3))
    x.insert(1, 2, 3, 4, 5, 6)
    x.insert(1, 2, 3, 4, 5, 6, 7)
    assert x.do(op.Lock("r", (1, 2, 3, 4, 5, 6, 7))).values["delta"] == 7
    assert (x.sizes(FULL), x.sizes(SWA)) == ((0, 7), (3, 4))
    x.match(1, 2, 3, 4, 5)
    x.shows("""
        [1,2,3]  F d=(1,2,3) h=- L=1 | S d=(1,2,3) h=- L=0 | hit 1
          [4,5]  F d=(4,5) h=- L=1 | S d=(4,5) h=- L=1 | hit 2
            [6]  F d=(6) h=- L=1 | S d=(6) h=- L=1 | hit 2
              [7]  F d=(13) h=- L=1 | S d=(13) h=- L=1 | hit 1
    """)
    assert (x.sizes(FULL), x.sizes(SWA)) == ((0, 7), (3, 4))
    x.do(op.Unlock("r"))
    x.shows("""
        [1,2,3]  F d=(1,2,3) h=- L=0 | S d=(1,2,3) h=- L=0 | hit 1
          [4,5]  F d=(4,5) h=- L=0 | S d=(4,5) h=- L=0 | hit 2
            [6]  F d=(6) h=- L=0 | S d=(6) h=- L=0 | hit 2
              [7]  F d=(13) h=- L=0 | S d=(13) h=- L=0 | hit 1 | D
    """)
    assert (x.sizes(FULL), x.sizes(SWA)) == ((7, 0), (7, 0))


def test_x14_namespaces(open_subject: OpenSubject) -> None:
    x = Example(open_subject, FULL_ONLY)
    x.insert(1, 2)
    x.insert(1, 2, namespace="lora")
    x.shows("""
        [1,2]  F d=(1,2) h=- L=0 | hit 1 | D
        lora:[1,2]  F d=(3,4) h=- L=0 | hit 1 | D
    """)
    assert x.match(1, 2, namespace="lora").slots == (3, 4)
    assert x.match(1, 2, namespace="x").slots == ()


@pytest.mark.parametrize(
    ("policy", "victim"),
    [("lru", 3), ("mru", 2), ("fifo", 1), ("filo", 3), ("lfu", 3), ("slru", 3), ("priority", 3)],
)
def test_x16_strategies(open_subject: OpenSubject, policy: str, victim: int) -> None:
    x = Example(open_subject, replace(FULL_ONLY, eviction_policy=policy))
    x.insert(1, 1, priority=2)
    x.insert(2, 2, priority=1)
    x.insert(3, 3, priority=0)
    x.match(1, 1)
    x.insert(2, 2, priority=1)
    x.evict(1)
    assert [n.key for n in x.state.nodes] == [(i, i) for i in (1, 2, 3) if i != victim]


def test_x23_bigram_keys(open_subject: OpenSubject) -> None:
    config = replace(FULL_ONLY, bigram=True, page_size=2)
    x = Example(open_subject, config)

    def raw() -> list[tuple[int, ...]]:
        return [raw_tokens(n.key) for n in x.state.nodes]

    x.insert(1, 2, 3, 4, 5, 6)
    assert raw() == [(1, 2, 3, 4, 5)]
    assert x.state.nodes[0].full.device == (2, 3, 4, 5)
    assert x.free(FULL) == config.full_slots - 4
    assert x.match(1, 2, 3, 9, 9).slots == (2, 3)
    assert raw() == [(1, 2, 3), (3, 4, 5)]


@pytest.mark.parametrize(
    ("window", "page_size", "length", "swa_evicted", "keys"),
    [
        (2, 1, 6, 0, [4, 2]),
        (2, 1, 6, 1, [1, 3, 2]),
        (3, 2, 8, 0, [4, 4]),
    ],
)
def test_x18_window_cap(
    open_subject: OpenSubject,
    window: int,
    page_size: int,
    length: int,
    swa_evicted: int,
    keys: list[int],
) -> None:
    x = Example(open_subject, with_swa(window, page_size))
    x.insert(*range(1, length + 1), swa_evicted=swa_evicted)
    state = x.state
    assert [len(n.key) for n in state.nodes] == keys
    has_swa = [n.swa is not None and n.swa.device is not None for n in state.nodes]
    assert has_swa == [n.end > swa_evicted for n in state.nodes]
