"""Worked example X-17: two requests, chunked prefill, decode past the window, finish."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example

CONFIG = CacheConfig(
    page_size=2,
    sliding_window=4,
    full_slots=40,
    swa_slots=40,
    host_full_slots=80,
    host_swa_slots=80,
)
DECODED = (10, 11, 12, 13, 14, 15, 16)


def test_x17_request_lifecycle(open_subject: OpenSubject) -> None:
    x = Example(open_subject, CONFIG)

    def row(name: str) -> tuple[tuple[int, ...], int]:
        request = next(r for r in x.state.requests if r.name == name)
        return request.row, request.protected

    x.do(op.Admit("A", (1, 2, 3, 4, 5, 6, 7)))
    x.do(op.Prefill("A", 4))
    x.shows("[1,2,3,4]  F d=(2,3,4,5) h=- L=1 | S d=(2,3,4,5) h=- L=1 | hit 0")
    assert row("A") == ((2, 3, 4, 5), 4)
    x.do(op.Prefill("A", 3))
    x.shows("""
        [1,2,3,4]  F d=(2,3,4,5) h=(0,1,2,3) L=3 | S d=(2,3,4,5) h=(0,1,2,3) L=3 | hit 1 | P
          [5,6]  F d=(6,7) h=(4,5) L=2 | S d=(6,7) h=(4,5) L=2 | hit 1 | P
    """)
    assert row("A") == ((2, 3, 4, 5, 6, 7, 8, 9), 6)
    x.ack()
    assert [(n.full.lock, n.swa and n.swa.lock) for n in x.state.nodes] == [(1, 1), (1, 1)]

    assert x.do(op.Admit("B", (1, 2, 3, 4, 5, 6, 8, 9))).slots == (2, 3, 4, 5, 6, 7)
    x.do(op.Prefill("B", 2))
    x.shows("""
        [1,2,3,4]  F d=(2,3,4,5) h=(0,1,2,3) L=3 | S d=(2,3,4,5) h=(0,1,2,3) L=1 | hit 2
          [5,6]  F d=(6,7) h=(4,5) L=3 | S d=(6,7) h=(4,5) L=3 | hit 2
            [8,9]  F d=(10,11) h=(6,7) L=2 | S d=(10,11) h=(6,7) L=2 | hit 1 | P
    """)

    x.do(op.Decode("A", DECODED))
    assert row("A")[0] == (2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17)
    assert x.do(op.SlideWindow("A")).values == {"freed": 2, "swa_evicted": 8}
    x.do(op.Finish("A"))
    state = x.state
    keys = [state.nodes[t.node].key for t in state.writes]
    assert keys == [(8, 9), (7, 10), (11, 12), (13, 14, 15, 16)], "ancestors first, top-down"
    locks = {n.key: (n.full.lock, n.swa.lock) for n in state.nodes if n.swa is not None}
    assert locks == {
        (1, 2, 3, 4): (5, 0),
        (5, 6): (5, 3),
        (7, 10): (3, 2),
        (11, 12): (2, 1),
        (13, 14, 15, 16): (1, 1),
        (8, 9): (2, 2),
    }
    outside = next(n for n in state.nodes if n.key == (7, 10))
    assert outside.swa is not None
    assert outside.swa.device is None, "left A's window before it was cached"
    assert state.pools[FULL].free_pages == tuple(range(9, 21))
