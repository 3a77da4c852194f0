"""Worked examples X-4, X-19, X-20 and X-22: load-backs, and locks on what is on the host."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA
from radixproof.model.payload import prefix_tags
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example, full_only, tiers


def test_x4_two_level_load_back(open_subject: OpenSubject) -> None:
    """FULL of both nodes in root-to-leaf order, SWA of the lower alone; M-29 loads one level."""
    x = Example(open_subject, tiers(window=1))
    x.insert(1, 2, swa_evicted=1)
    x.ack()
    assert x.evict(2) == (2, 1)
    loaded = x.do(op.LoadBack((1, 2)))
    assert loaded.values == {"loaded_full": 2, "loaded_swa": 1}
    (load,) = x.state.loads
    assert load.nodes == (0, 1)
    moved = [(m.component, m.device, m.host) for m in load.moves]
    assert moved == [(FULL, (3, 4), (0, 1)), (SWA, (3,), (0,))]
    x.do(op.StartLoading())
    x.ack()
    assert x.match(1, 2).slots == (3, 4)


def test_a_load_keeps_its_source_from_its_own_eviction(open_subject: OpenSubject) -> None:
    """D-5: making room for a load backs up another leaf, which must not take the load's source."""
    sizes = {"full_slots": 2, "swa_slots": 2, "host_full_slots": 2, "host_swa_slots": 2}
    x = Example(open_subject, tiers(window=2, write_policy="write_back", **sizes))
    x.insert(1, 2)
    x.evict(2)
    x.insert(3, 4)
    assert x.subject.apply(op.LoadBack((1, 2))).kind == "refused"
    x.shows("""
        [1,2]  F d=- h=(0,1) L=0 | S d=- h=(0,1) L=0 | hit 0 | H
        [3,4]  F d=(1,2) h=- L=0 | S d=(1,2) h=- L=0 | hit 0 | D
    """)


def test_x19_lock_and_unlock_of_an_evicted_leaf(open_subject: OpenSubject) -> None:
    """U-3: [4] must be a D-leaf again after the release."""
    x = Example(open_subject, tiers(window=2))
    x.insert(1, 2, 3)
    x.ack()
    x.insert(1, 2, 3, 4, 5, 6)
    x.ack()
    x.evict(2)
    tree = """
        [1]  F d=(1) h=(0) L=0 | S d=(1) h=(0) L=0 | hit 1
          [2,3]  F d=(2,3) h=(1,2) L=0 | S d=(2,3) h=(1,2) L=0 | hit 2
            [4]  F d=(7) h=(3) L=0 | S d=(7) h=(3) L=0 | hit 0 | D
              [5,6]  F d=- h=(4,5) L=0 | S d=- h=(4,5) L=0 | hit 1 | H
    """
    x.shows(tree)
    x.do(op.Lock("r", (1, 2, 3, 4, 5, 6)))
    x.do(op.Unlock("r"))
    x.shows(tree)


def test_x20_quota(open_subject: OpenSubject) -> None:
    """U-15: 10 tokens to load, 20 that the lock would protect."""
    x = Example(open_subject, full_only(full_slots=64, host_full_slots=64))
    leaf = tuple(range(1, 31))
    x.insert(*leaf[:20])
    x.insert(*leaf)
    x.ack()
    x.evict(10)
    assert x.subject.apply(op.LoadBack(leaf, mem_quota=5)).kind == "refused"
    assert x.do(op.LoadBack(leaf, mem_quota=30)).values["loaded_full"] == 10


def test_x22_split_of_a_loading_node(open_subject: OpenSubject) -> None:
    x = Example(open_subject, full_only())
    x.insert(1, 2, 3, 4)
    x.ack()
    x.evict(4)
    x.do(op.LoadBack((1, 2, 3, 4)))
    x.do(op.StartLoading())
    assert x.match(1, 2).slots == (5, 6)
    x.shows("""
        [1,2]  F d=(5,6) h=(0,1) L=1(hL=1) | hit 1
          [3,4]  F d=(7,8) h=(2,3) L=1(hL=1) | hit 1
    """)
    assert x.evict(4) == (0, 0)
    x.ack()
    x.shows("""
        [1,2]  F d=(5,6) h=(0,1) L=0 | hit 1
          [3,4]  F d=(7,8) h=(2,3) L=0 | hit 1 | D
    """)
    assert x.state.pools[FULL].contents[5:9] == prefix_tags("", (1, 2, 3, 4))
