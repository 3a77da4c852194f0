"""Worked examples X-15 and X-15b, the seed's scenario with states, and a request's state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.payload import prefix_tags
from radixproof.model.snapshot import Request
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example

STATES = CacheConfig(components=(FULL, MAMBA), swa_slots=0, host_swa_slots=0)


def three(window: int, *, host: bool = True, **sizes: int) -> CacheConfig:
    if not host:
        sizes |= {"host_full_slots": 0, "host_swa_slots": 0, "host_mamba_slots": 0}
    return CacheConfig(components=(FULL, SWA, MAMBA), sliding_window=window, **sizes)  # type: ignore[arg-type]


def test_x15_states(open_subject: OpenSubject) -> None:
    x = Example(open_subject, STATES)
    x.insert(1, 2, 3, 4)
    x.insert(1, 2, 3, 4, 5, 6)
    x.ack()
    x.shows("""
        [1,2,3,4]  F d=(1,2,3,4) h=(0,1,2,3) L=0 | M d=(1) h=(0) L=0 | hit 2
          [5,6]  F d=(9,10) h=(4,5) L=0 | M d=(2) h=(1) L=0 | hit 1 | D
    """)
    found = x.match(1, 2, 3)
    assert found.slots == ()
    assert found.values["best_match"] == 0, "no node with a state ends inside the key"
    x.shows("""
        [1,2,3]  F d=(1,2,3) h=(0,1,2) L=0 | M d=- h=- L=0 | hit 2
          [4]  F d=(4) h=(3) L=0 | M d=(1) h=(0) L=0 | hit 2
            [5,6]  F d=(9,10) h=(4,5) L=0 | M d=(2) h=(1) L=0 | hit 1 | D
    """)
    assert x.device_list(MAMBA) == [(5, 6), (4,)], "decision 10: X-15 has it the other way round"
    assert x.match(1, 2, 3, 4).slots == (1, 2, 3, 4)
    assert x.device_list(MAMBA) == [(4,), (5, 6)]
    assert x.evict(mamba=1) == (2, 0, 1)
    assert x.host_list(MAMBA) == [(5, 6)]
    found = x.match(1, 2, 3, 4)
    assert found.slots == (1, 2, 3, 4)
    assert (found.values["host_hit"], found.values["mamba_host_hit"]) == (0, 0)


def test_x15b_a_state_goes_with_its_window(open_subject: OpenSubject) -> None:
    x = Example(open_subject, three(2, host=False))
    x.insert(1, 2, 3, 4)
    x.insert(1, 2, 3, 4, 5, 6)
    assert x.evict(swa=3) == (0, 4, 1)
    assert [(n.key, n.swa and n.swa.device, n.mamba and n.mamba.device) for n in x.state.nodes] == [
        ((1, 2), None, None),
        ((3, 4), None, None),
        ((5, 6), (9, 10), (2,)),
    ]
    assert x.match(1, 2, 3, 4).slots == ()
    assert len(x.match(1, 2, 3, 4, 5, 6).slots) == 6


def test_x3_with_a_state(open_subject: OpenSubject) -> None:
    """Upstream PR 25065 with three components: where its own test stops."""
    x = Example(open_subject, three(1))
    x.insert(1, 2, swa_evicted=1)
    x.shows("""
        [1]  F d=(1) h=(0) L=2 | S d=- h=- L=1 | M d=- h=- L=1 | hit 0 | P
          [2]  F d=(2) h=(1) L=1 | S d=(2) h=(0) L=1 | M d=(1) h=(0) L=1 | hit 1 | P
    """)
    assert [t.node for t in x.state.writes] == [0, 1], "the parent's ack comes first"
    x.ack()
    assert x.evict(2) == (2, 1, 1)
    x.shows("""
        [1]  F d=- h=(0) L=0 | S d=- h=- L=0 | M d=- h=- L=0 | hit 0
          [2]  F d=- h=(1) L=0 | S d=- h=(0) L=0 | M d=- h=(0) L=0 | hit 1 | H
    """)
    values = x.match(1, 2).values
    assert (values["best_match"], values["host_hit"]) == (2, 2)
    assert (values["swa_host_hit"], values["mamba_host_hit"]) == (1, 1)
    loaded = x.do(op.LoadBack((1, 2))).values
    assert (loaded["loaded_full"], loaded["loaded_swa"], loaded["loaded_mamba"]) == (2, 1, 1)
    assert x.evict(99, 99, 99) == (0, 0, 0)
    x.do(op.StartLoading())
    x.ack()
    x.shows("""
        [1]  F d=(3) h=(0) L=0 | S d=- h=- L=0 | M d=- h=- L=0 | hit 0
          [2]  F d=(4) h=(1) L=0 | S d=(3) h=(0) L=0 | M d=(2) h=(0) L=0 | hit 1 | D
    """)
    assert x.state.pools[MAMBA].contents[2] == prefix_tags("", (1, 2))[1]


def request(x: Example, name: str) -> Request:
    return next(r for r in x.state.requests if r.name == name)


def test_a_request_forks_its_state_and_donates_it(open_subject: OpenSubject) -> None:
    x = Example(open_subject, STATES)
    x.do(op.Admit("r", (1, 2, 3, 4)))
    assert (request(x, "r").state_slot, request(x, "r").zero_state) == (1, True)
    x.do(op.Prefill("r", 2))
    x.shows("[1,2]  F d=(1,2) h=- L=1 | M d=(2) h=- L=1 | hit 0")
    x.do(op.Prefill("r", 2))
    x.do(op.Decode("r", (5,)))
    assert x.state.pools[MAMBA].contents[1] == prefix_tags("", (1, 2, 3, 4, 5))[-1]
    x.do(op.Finish("r"))
    assert [(n.key, n.mamba and n.mamba.device) for n in x.state.nodes] == [
        ((1, 2), (2,)),
        ((3, 4), (3,)),
        ((5,), (1,)),
    ]


def test_copy_on_write(open_subject: OpenSubject) -> None:
    """Two requests go on from one state, each in a slot of its own."""
    x = Example(open_subject, STATES)
    x.insert(1, 2)
    for name, token in (("a", 3), ("b", 4)):
        x.do(op.Admit(name, (1, 2, token)))
        assert request(x, name).state_source == 1
    for name in ("a", "b"):
        x.do(op.Prefill(name, 1))
    tags = prefix_tags("", (1, 2))
    contents = x.state.pools[MAMBA].contents
    assert contents[1] == tags[-1]
    for name, token in (("a", 3), ("b", 4)):
        slot = request(x, name).state_slot
        assert slot is not None
        assert contents[slot] == prefix_tags("", (1, 2, token))[-1]


def test_a_refused_load_back_leaves_the_request_with_the_right_state(
    open_subject: OpenSubject,
) -> None:
    """U-8: the request falls back to the device prefix, and to that prefix's state."""
    x = Example(open_subject, STATES)
    x.insert(1, 2)
    x.insert(1, 2, 3, 4)
    x.ack()
    x.evict(2)
    admitted = x.do(op.Admit("r", (1, 2, 3, 4, 5), mem_quota=1)).values
    assert (admitted["loaded"], admitted["protected"]) == (0, 2)
    assert request(x, "r").state_source == 1
    x.do(op.Prefill("r", 3))
    slot = request(x, "r").state_slot
    assert slot is not None
    assert x.state.pools[MAMBA].contents[slot] == prefix_tags("", (1, 2, 3, 4, 5))[-1]


def test_a_load_fills_the_requests_slot_too(open_subject: OpenSubject) -> None:
    x = Example(open_subject, STATES)
    x.insert(1, 2)
    x.ack()
    x.evict(2)
    assert x.do(op.Admit("r", (1, 2, 3))).values["loaded"] == 1
    (load,) = x.state.loads
    (move,) = [m for m in load.moves if m.component == MAMBA]
    assert move.device[1] == request(x, "r").state_slot
    assert move.host == (0, 0)
    x.do(op.Abort("r"))
    assert x.state.loads[0].stage == "executed", "nobody gets the slot before it is written"


@pytest.mark.parametrize(("chunk", "branching"), [(2, 2), (3, 3), (4, 0)])
def test_a_branching_point_is_reported(
    open_subject: OpenSubject, chunk: int, branching: int
) -> None:
    alone = replace(STATES, host_full_slots=0, host_mamba_slots=0, mamba_chunk_size=chunk)
    x = Example(open_subject, alone)
    x.insert(1, 2, 3, 4)
    assert x.match(1, 2, 3, 9).values["branching"] == branching
    assert x.match(1, 2, 3, 4).values["branching"] == 0
