"""A chain of 2,000 nodes meets no recursion limit, on either tier."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example

DEPTH = 2000
CONFIG = CacheConfig(
    components=(FULL,), full_slots=2 * DEPTH + 10, swa_slots=0, host_full_slots=2 * DEPTH
)


def test_a_chain_of_two_thousand_nodes(open_subject: OpenSubject) -> None:
    x = Example(open_subject, CONFIG)
    key = tuple(range(1, DEPTH + 1))
    x.insert(*key)
    for end in range(DEPTH - 1, 0, -1):
        x.match(*key[:end])
    assert len(x.state.nodes) == DEPTH
    x.ack()
    x.do(op.Lock("a", key))
    x.do(op.Unlock("a"))
    assert x.evict(DEPTH)[0] == DEPTH
    assert x.do(op.LoadBack(key)).values["loaded_full"] == DEPTH
    x.do(op.StartLoading())
    x.ack()
    assert x.match(*key).values["device_hit"] == DEPTH
    assert x.insert(*key, 7) == DEPTH
    x.ack()
    x.evict(DEPTH + 1)
    assert x.do(op.EvictHost(DEPTH + 1)).values["freed"] == DEPTH + 1
    assert x.state.nodes == ()


def test_a_chain_without_a_single_backup(open_subject: OpenSubject) -> None:
    """U-23: the whole unbacked chain is backed up root first, by iteration."""
    policy = {"write_policy": "write_through_selective"}
    x = Example(open_subject, CacheConfig.from_json({**CONFIG.to_json(), **policy}))
    key = tuple(range(1, DEPTH + 1))
    x.insert(*key, chunked=True)
    for end in range(DEPTH - 1, 0, -1):
        x.match(*key[:end])
    x.insert(*key)
    x.insert(*key)
    assert len(x.state.writes) == DEPTH
