"""Worked example X-11: write-back."""

from __future__ import annotations

from radixproof.model.payload import prefix_tags
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example, tiers


def test_x11_write_back(open_subject: OpenSubject) -> None:
    x = Example(open_subject, tiers(window=2, write_policy="write_back"))
    x.insert(1, 2)
    x.insert(1, 2, 3, 4)
    x.shows("""
        [1,2]  F d=(1,2) h=- L=0 | S d=(1,2) h=- L=0 | hit 0
          [3,4]  F d=(5,6) h=- L=0 | S d=(5,6) h=- L=0 | hit 0 | D
    """)
    assert x.free("host_full") == 32
    assert x.evict(2) == (2, 2)
    x.shows("""
        [1,2]  F d=(1,2) h=- L=0 | S d=(1,2) h=- L=0 | hit 0 | D
          [3,4]  F d=- h=(0,1) L=0 | S d=- h=(0,1) L=0 | hit 0 | H
    """)
    assert x.state.writes == (), "the copy was waited for"
    assert x.state.pools["host_full"].contents[:2] == prefix_tags("", (1, 2, 3, 4))[2:]
    assert x.evict(swa=2) == (2, 2)
    x.shows("""
        [1,2]  F d=- h=(2,3) L=0 | S d=- h=(2,3) L=0 | hit 0
          [3,4]  F d=- h=(0,1) L=0 | S d=- h=(0,1) L=0 | hit 0 | H
    """)


def test_a_refused_write_back_leaves_the_leaf_on_device(open_subject: OpenSubject) -> None:
    """U-5: one try per leaf and call, whichever driver asks; the rest of the call goes on."""
    sizes = {"host_full_slots": 1, "host_swa_slots": 1}
    x = Example(open_subject, tiers(window=2, write_policy="write_back", **sizes))
    x.insert(1, 2)
    assert x.evict(2, 2) == (0, 0)
    x.shows("[1,2]  F d=(1,2) h=- L=0 | S d=(1,2) h=- L=0 | hit 0 | D")
    x.insert(3)
    assert x.evict(3, 3) == (1, 1)
    assert [n.evicted for n in x.state.nodes] == [False, True]
