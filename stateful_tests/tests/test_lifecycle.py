"""Requests that wait, are retracted or aborted half-way, share a node, or hold less than before."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.snapshot import Request
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example

TWO = CacheConfig(sliding_window=2)
THREE = CacheConfig(components=(FULL, SWA, MAMBA), sliding_window=2)


def request(x: Example, name: str) -> Request:
    return next(r for r in x.state.requests if r.name == name)


def on_host(x: Example) -> None:
    """[1,2] on device, [3,4] below it on host only."""
    x.insert(1, 2)
    x.insert(1, 2, 3, 4)
    x.ack()
    x.evict(2)


def test_abort_between_match_and_load_back(open_subject: OpenSubject) -> None:
    x = Example(open_subject, TWO)
    on_host(x)
    values = x.do(op.Prepare("r", (1, 2, 3, 4, 5))).values
    assert (values["device_hit"], values["best_match"]) == (2, 4)
    x.shows("""
        [1,2]  F d=(1,2) h=(0,1) L=1 | S d=(1,2) h=(0,1) L=1 | hit 2
          [3,4]  F d=- h=(2,3) L=0 | S d=- h=(2,3) L=0 | hit 1 | H
    """)
    x.do(op.Abort("r"))
    assert x.state.receipts == ()
    assert x.state.candidates == ()


def test_what_waited_for_is_gone(open_subject: OpenSubject) -> None:
    """Host eviction while the request waits: it goes on from its device prefix."""
    x = Example(open_subject, TWO)
    on_host(x)
    x.do(op.Prepare("r", (1, 2, 3, 4, 5)))
    x.do(op.EvictHost(2))
    values = x.do(op.Proceed("r")).values
    assert values == {"loaded": 0, "protected": 2}


def test_what_waited_for_is_split_and_still_loaded(open_subject: OpenSubject) -> None:
    x = Example(open_subject, TWO)
    on_host(x)
    x.do(op.Prepare("r", (1, 2, 3, 4, 5)))
    x.match(1, 2, 3)
    assert x.do(op.Proceed("r")).values == {"loaded": 1, "protected": 4}


def test_retraction_starts_over_with_the_output(open_subject: OpenSubject) -> None:
    x = Example(open_subject, THREE)
    x.do(op.Admit("r", (1, 2, 3)))
    x.do(op.Prefill("r", 3))
    x.do(op.Decode("r", (4, 5, 6, 7)))
    x.do(op.SlideWindow("r"))
    assert request(x, "r").swa_evicted == 4
    x.do(op.Retract("r"))
    assert x.state.requests == ()
    x.do(op.Proceed("r"))
    r = request(x, "r")
    assert (r.tokens, r.prompt_len, r.swa_evicted) == ((1, 2, 3, 4, 5, 6, 7), 7, 0)
    assert r.protected == 3
    x.do(op.Prefill("r", 4))
    x.do(op.Finish("r"))
    x.ack()
    assert x.free(MAMBA) == THREE.mamba_slots - 2


def test_an_early_release_lets_the_window_go(open_subject: OpenSubject) -> None:
    x = Example(open_subject, THREE)
    x.do(op.Admit("r", (1, 2)))
    x.do(op.Prefill("r", 2))
    x.ack()
    assert x.subject.apply(op.ReleaseWindow("r")).kind == "E_PROTO", "token 2 is in the window"
    x.do(op.Decode("r", (3,)))
    assert x.evict(9, 9, 9) == (0, 0, 0)
    x.do(op.ReleaseWindow("r"))
    x.shows("[1,2]  F d=(1,2) h=(0,1) L=1 | S d=(1,2) h=(0,1) L=0 | M d=(2) h=(0) L=0 | hit 1")
    assert x.evict(9, 9, 9) == (0, 2, 1), "window and state go, the KV is still read"
    assert x.subject.apply(op.ReleaseWindow("r")).kind == "E_PROTO"
    x.do(op.Finish("r"))


def test_several_requests_on_one_node(open_subject: OpenSubject) -> None:
    x = Example(open_subject, THREE)
    x.insert(1, 2)
    x.ack()
    for name in ("a", "b", "c"):
        x.do(op.Admit(name, (1, 2, 3)))
    x.shows("[1,2]  F d=(1,2) h=(0,1) L=3 | S d=(1,2) h=(0,1) L=3 | M d=(1) h=(0) L=3 | hit 1")
    x.do(op.Abort("b"))
    x.do(op.Prefill("a", 1))
    x.do(op.Prefill("c", 1))
    x.do(op.Finish("a"))
    x.do(op.Finish("c"))
    x.ack()
    assert [p.lock for n in x.state.nodes for p in n.placements] == [0] * 6
    assert x.free(MAMBA) == THREE.mamba_slots - 2


def test_a_disabled_cache(open_subject: OpenSubject) -> None:
    x = Example(
        open_subject,
        CacheConfig(**{**THREE.to_json(), "components": THREE.components, "disable": True}),
    )
    x.insert(1, 2, 3)
    assert x.match(1, 2, 3).values["best_match"] == 0
    x.do(op.Admit("r", (1, 2, 3)))
    x.do(op.Prefill("r", 2))
    x.do(op.Prefill("r", 1))
    x.do(op.Decode("r", (4,)))
    assert request(x, "r").protected == 0
    x.do(op.Finish("r"))
    assert x.state.nodes == ()
    assert all(pool.free_slots == pool.slots for pool in x.state.pools.values())
