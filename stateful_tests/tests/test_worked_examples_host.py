"""Worked examples X-3, X-8 to X-10, X-12, X-13 and X-21: backup, host eviction, un-eviction."""

from __future__ import annotations

import pytest

from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA
from radixproof.model.payload import prefix_tags
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example, full_only, tiers


def test_x3a_the_seed_scenario(open_subject: OpenSubject) -> None:
    """Upstream PR 25065."""
    x = Example(open_subject, tiers(window=1))
    x.insert(1, 2, swa_evicted=1)
    x.shows("""
        [1]  F d=(1) h=(0) L=2 | S d=- h=- L=1 | hit 0 | P
          [2]  F d=(2) h=(1) L=1 | S d=(2) h=(0) L=1 | hit 1 | P
    """)
    assert [t.node for t in x.state.writes] == [0, 1], "the parent's ack comes first"
    assert (x.sizes(FULL), x.sizes(SWA)) == ((0, 2), (0, 1))
    assert [x.free(p) for p in x.config.pools] == [14, 15, 30, 31]
    x.ack()
    x.shows("""
        [1]  F d=(1) h=(0) L=0 | S d=- h=- L=0 | hit 0
          [2]  F d=(2) h=(1) L=0 | S d=(2) h=(0) L=0 | hit 1 | D
    """)
    assert x.evict(2) == (2, 1)
    x.shows("""
        [1]  F d=- h=(0) L=0 | S d=- h=- L=0 | hit 0
          [2]  F d=- h=(1) L=0 | S d=- h=(0) L=0 | hit 1 | H
    """)
    assert x.host_list() == [(2,)]
    found = x.match(1, 2)
    assert found.slots == ()
    assert found.values == {"device_hit": 0, "best_match": 2, "host_hit": 2, "swa_host_hit": 1}
    x.do(op.LoadBack((1, 2)))
    x.shows("""
        [1]  F d=(3) h=(0) L=1 | S d=- h=- L=0 | hit 0
          [2]  F d=(4) h=(1) L=1(hL=1) | S d=(3) h=(0) L=1(hL=1) | hit 1
    """)
    assert x.state.full_to_swa[3:5] == (0, 3)
    (load,) = x.state.loads
    assert [(m.component, m.device) for m in load.moves] == [(FULL, (3, 4)), (SWA, (3,))]
    assert x.evict(99, 99) == (0, 0)
    x.do(op.StartLoading())
    x.ack()
    x.shows("""
        [1]  F d=(3) h=(0) L=0 | S d=- h=- L=0 | hit 0
          [2]  F d=(4) h=(1) L=0 | S d=(3) h=(0) L=0 | hit 1 | D
    """)
    assert x.state.pools[FULL].contents[3:5] == prefix_tags("", (1, 2))
    assert x.state.pools[SWA].contents[3] == prefix_tags("", (1, 2))[1]


def test_x3b_the_seed_scenario_in_pages(open_subject: OpenSubject) -> None:
    x = Example(open_subject, tiers(window=4, page_size=4))
    x.insert(*range(1, 9), swa_evicted=4)
    x.ack()
    assert x.evict(8) == (8, 4)
    x.shows("""
        [1,2,3,4]  F d=- h=(0,1,2,3) L=0 | S d=- h=- L=0 | hit 0
          [5,6,7,8]  F d=- h=(4,5,6,7) L=0 | S d=- h=(0,1,2,3) L=0 | hit 1 | H
    """)
    values = x.match(*range(1, 9)).values
    assert (values["host_hit"], values["swa_host_hit"], values["best_match"]) == (8, 4, 8)
    x.do(op.LoadBack(tuple(range(1, 9))))
    assert [n.full.device for n in x.state.nodes] == [(4, 5, 6, 7), (8, 9, 10, 11)]


def test_x3c_kept_but_not_usable(open_subject: OpenSubject) -> None:
    """The window needs four tokens after the tombstone; there is one."""
    x = Example(open_subject, tiers(window=4))
    x.insert(1, 2, swa_evicted=1)
    x.ack()
    x.evict(2)
    assert all(n.backuped for n in x.state.nodes)
    assert x.match(1, 2).values["best_match"] == 0


def test_x8_split_during_a_pending_write(open_subject: OpenSubject) -> None:
    x = Example(open_subject, tiers(window=2))
    x.insert(1, 2, 3, 4)
    x.match(1, 2, 3)
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=2 | S d=(1,2) h=(0,1) L=1 | hit 0 | P
          [3]  F d=(3) h=(2) L=1 | S d=(3) h=(2) L=1 | hit 1 | P
            [4]  F d=(4) h=(3) L=1 | S d=(4) h=(3) L=1 | hit 1 | P
    """)
    assert [(t.node, t.nodes) for t in x.state.writes] == [(0, (0,)), (2, (1, 2))]
    x.ack()
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=0 | S d=(1,2) h=(0,1) L=0 | hit 0
          [3]  F d=(3) h=(2) L=0 | S d=(3) h=(2) L=0 | hit 1
            [4]  F d=(4) h=(3) L=0 | S d=(4) h=(3) L=0 | hit 1 | D
    """)
    assert x.state.pools["host_full"].contents[:4] == prefix_tags("", (1, 2, 3, 4))


def test_x9_host_eviction(open_subject: OpenSubject) -> None:
    x = Example(open_subject, tiers(window=2))
    x.insert(1, 2)
    x.insert(1, 2, 3, 4)
    x.insert(1, 2, 5, 6)
    x.ack()
    assert x.evict(6) == (6, 6)
    assert x.host_list() == [(1, 2), (5, 6), (3, 4)]
    assert x.do(op.EvictHost(2, SWA)).values["freed"] == 2
    x.shows("""
        [1,2]  F d=- h=(0,1) L=0 | S d=- h=(0,1) L=0 | hit 3
          [5,6]  F d=- h=(4,5) L=0 | S d=- h=(4,5) L=0 | hit 1 | H
    """)
    assert x.do(op.EvictHost(2)).values["freed"] == 2
    x.shows("[1,2]  F d=- h=(0,1) L=0 | S d=- h=(0,1) L=0 | hit 3 | H")
    assert x.do(op.EvictHost(3)).values["freed"] == 2
    assert x.state.nodes == ()
    assert x.free("host_full") == x.free("host_swa") == 32


@pytest.mark.parametrize(
    ("swa_evicted", "tree", "host_list"),
    [
        (
            0,
            """
            [1,2]  F d=(5,6) h=(0,1) L=1 | S d=(5,6) h=(0,1) L=0 | hit 1
              [3,4]  F d=(7,8) h=(2,3) L=1 | S d=(7,8) h=(2,3) L=1 | hit 2
                [5]  F d=(9) h=(4) L=1 | S d=(9) h=(4) L=1 | hit 1 | P
            """,
            [],
        ),
        (
            1,
            """
            [1]  F d=(5) h=(0) L=1 | S d=- h=(0) L=0 | hit 0
              [2]  F d=(6) h=(1) L=1 | S d=(6) h=(1) L=0 | hit 1
                [3,4]  F d=(7,8) h=(2,3) L=1 | S d=(7,8) h=(2,3) L=1 | hit 2
                  [5]  F d=(9) h=(4) L=1 | S d=(9) h=(4) L=1 | hit 1 | P
            """,
            [(1,)],
        ),
    ],
)
def test_x10_un_eviction_by_insert(
    open_subject: OpenSubject, swa_evicted: int, tree: str, host_list: list[tuple[int, ...]]
) -> None:
    x = Example(open_subject, tiers(window=2))
    x.insert(1, 2, 3, 4)
    x.ack()
    x.evict(4)
    assert x.insert(1, 2, 3, 4, 5, swa_evicted=swa_evicted) == 4
    x.shows(tree)
    assert x.host_list() == host_list


def test_x12_selective_policy_and_chunks(open_subject: OpenSubject) -> None:
    x = Example(open_subject, full_only(write_policy="write_through_selective"))
    x.insert(1, 2)
    x.shows("[1,2]  F d=(1,2) h=- L=0 | hit 1 | D")
    x.insert(1, 2, 3)
    once = """
        [1,2]  F d=(1,2) h=(0,1) L=1 | hit 2 | P
          [3]  F d=(5) h=- L=0 | hit 1 | D
    """
    x.shows(once)
    x.insert(1, 2, 3, chunked=True)
    x.shows(once)
    x.insert(1, 2, 3)
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=2 | hit 3 | P
          [3]  F d=(5) h=(2) L=1 | hit 2 | P
    """)


def test_x13_host_too_small_for_the_chain(open_subject: OpenSubject) -> None:
    x = Example(open_subject, tiers(window=2, host_full_slots=3, host_swa_slots=3))
    x.insert(1, 2, 3, 4, swa_evicted=2)
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=1 | S d=- h=- L=1 | hit 0 | P
          [3,4]  F d=(3,4) h=- L=0 | S d=(3,4) h=- L=0 | hit 1 | D
    """)
    x.ack()
    assert x.evict(4) == (4, 2)
    x.shows("[1,2]  F d=- h=(0,1) L=0 | S d=- h=- L=0 | hit 0 | H")


def test_x21_no_adoption_under_a_pending_write(open_subject: OpenSubject) -> None:
    """U-1: the copy still reads FULL slots 1 and 2, so the tombstone keeps them."""
    x = Example(open_subject, tiers(window=2, full_slots=8, swa_slots=8))
    x.insert(1, 2, 3, 4, swa_evicted=2)
    x.insert(1, 2)
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=2 | S d=(5,6) h=- L=1 | hit 1 | P
          [3,4]  F d=(3,4) h=(2,3) L=1 | S d=(3,4) h=(0,1) L=1 | hit 1 | P
    """)
    assert x.state.full_to_swa[1:3] == (5, 6)
    assert x.state.pools[FULL].free_pages == (7, 8, 5, 6)
    x.do(op.Admit("other", (9, 9, 9, 9)))
    x.do(op.Prefill("other", 4))  # writes foreign data into all four free slots
    x.ack()
    assert x.state.pools["host_full"].contents[:2] == prefix_tags("", (1, 2))
