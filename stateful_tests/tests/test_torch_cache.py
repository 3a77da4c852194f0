"""The torch cache's own parts: pools, payload bytes, engines, typed errors, agreement."""

from __future__ import annotations

import pytest
import torch

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.errors import ArgumentError, BusyError, ProtocolError
from radixproof.impl.torch_cache.payload_codec import decode, encode
from radixproof.impl.torch_cache.pools import KVPool
from radixproof.impl.torch_cache.subject import TorchSubject, open_torch
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.payload import NEVER_WRITTEN, TORN, prefix_tags
from radixproof.stateful_tests.tests.runs import observed_steps
from radixproof.stateful_tests.walk import walk

CPU = torch.device("cpu")


def test_pools_hold_what_was_written() -> None:
    pool = KVPool(8, CPU)
    assert list(pool.read()) == [NEVER_WRITTEN] * 8
    tags = prefix_tags("x", (1, 2, 3))
    pool.write(torch.tensor([5, 1, 7]), tags)
    assert [pool.read()[x] for x in (5, 1, 7)] == list(tags)
    assert pool.read()[0] == NEVER_WRITTEN


def test_every_number_of_a_slot_is_verified() -> None:
    pool = KVPool(2, CPU)
    pool.write(torch.tensor([1]), prefix_tags("", (4,)))
    good = pool.kv.clone()
    for index in torch.cartesian_prod(*(torch.arange(n) for n in pool.kv[:, :, 1].shape)):
        layer, part, head, dim = index.tolist()
        pool.kv.copy_(good)
        pool.kv[layer, part, 1, head, dim] += 1
        assert pool.read()[1] == TORN


def test_the_codec_is_one_to_one() -> None:
    tags = prefix_tags("ns", range(500))
    assert [decode(encode(tag)) for tag in tags] == list(tags)
    assert len({encode(tag) for tag in tags}) == len(set(tags))


def test_a_copy_happens_when_it_is_executed() -> None:
    cache = TorchCache(CacheConfig(), CPU)
    cache.insert(op.Insert((1, 2)))
    host = cache.memory.pools["host_full"]
    assert set(host.read()) == {NEVER_WRITTEN}
    cache.execute(op.Execute(op.WRITE))
    assert list(host.read()[:2]) == list(prefix_tags("", (1, 2)))


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (op.Insert(()), ArgumentError),
        (op.Insert((1,), swa_evicted=2), ArgumentError),
        (op.Lock("a", (9,)), ArgumentError),
        (op.Unlock("a"), ProtocolError),
        (op.Evict(-1), ArgumentError),
        (op.EvictHost(1, "mamba"), ArgumentError),
        (op.LoadBack((9,)), ArgumentError),
        (op.Execute(op.LOAD), ProtocolError),
        (op.Observe("side"), ArgumentError),
        (op.Finish("r"), ProtocolError),
    ],
)
def test_illegal_calls_raise_before_anything_changes(
    operation: op.Operation, error: type[Exception]
) -> None:
    subject = open_torch(CacheConfig())
    subject.apply(op.Insert((1, 2)))
    before = subject.snapshot()
    method = getattr(subject.cache, op.NAMES[type(operation)])
    with pytest.raises(error):
        method(operation)
    assert subject.snapshot() == before


def test_a_reset_waits_for_copies() -> None:
    cache = TorchCache(CacheConfig(), CPU)
    cache.insert(op.Insert((1, 2)))
    with pytest.raises(BusyError):
        cache.reset()


def test_a_broken_cache_is_an_outcome_not_a_raise() -> None:
    class Broken(TorchCache):
        def _touch(self, node: object) -> None:
            raise RuntimeError("boom")

    outcome = TorchSubject(Broken(CacheConfig(), CPU)).apply(op.Insert((1,)))
    assert outcome.kind == "E_INTERNAL"
    assert "boom" in outcome.reason


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="device"):
        open_torch(CacheConfig(), device="tpu")


def test_rows_of_the_request_table_grow() -> None:
    config = CacheConfig(full_slots=256, swa_slots=256, host_full_slots=0, host_swa_slots=0)
    subject = open_torch(config)
    for i in range(6):
        subject.apply(op.Admit(f"r{i}", tuple(range(10 * i, 10 * i + 40))))
        subject.apply(op.Prefill(f"r{i}", 40))
    rows = [r.row for r in subject.snapshot().requests]
    assert [len(r) for r in rows] == [40] * 6


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_the_specification(seed: int) -> None:
    assert walk(open_torch, 7_000 + seed) is None


@pytest.mark.cuda
@pytest.mark.parametrize("seed", range(20))
def test_streams_agree_with_the_specification(seed: int) -> None:
    assert walk(lambda config: open_torch(config, device="cuda"), 9_000 + seed) is None


@pytest.mark.parametrize("seed", range(10))
def test_the_state_is_a_function_of_the_operations(seed: int) -> None:
    """I-42: the same operations give the same slots, ids and orders, not only equal trees."""
    first = open_torch(next(observed_steps(seed))[0].config)
    second = open_torch(first.cache.config)
    for _, operation, _, _ in observed_steps(seed):
        outcomes = first.apply(operation), second.apply(operation)
        assert outcomes[0] == outcomes[1]
        assert outcomes[0].slots == outcomes[1].slots
        states = first.snapshot(), second.snapshot()
        assert states[0] == states[1]
        assert [n.id for n in states[0].nodes] == [n.id for n in states[1].nodes]
