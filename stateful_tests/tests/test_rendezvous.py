"""Ranks meet in collectives: all get the same result, and one that stays away is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed

from radixproof.impl.sglang.loader import StubCalled
from radixproof.impl.sglang.ranks.collectives import Collectives, Group
from radixproof.impl.sglang.ranks.rendezvous import Ask, RankEnded, Ranks, Serve
from radixproof.model.ranks import Collective

MINIMUM = Collective("all_reduce", "tp", "MIN", (2,), "int64")
MAXIMUM = Collective("all_reduce", "tp", "MAX", (2,), "int64")
BARRIER = Collective("barrier", "tp")

Body = Callable[[int, Ask], Any]


@contextmanager
def ranks(count: int, body: Body) -> Iterator[Ranks]:
    def make(rank: int, ask: Ask) -> Serve:
        return lambda command: body(rank, ask) if command == "go" else command

    running = Ranks(count, make)
    try:
        yield running
    finally:
        running.close()


def go(count: int, body: Body) -> tuple[dict[int, Any], tuple[tuple[Collective, ...], ...]]:
    """What each rank answered, and what it called, when all did the same once."""
    with ranks(count, body) as running:
        done = running.perform(dict.fromkeys(range(count), "go"))
    return dict(done.answers), done.calls


@pytest.mark.parametrize(("call", "result"), [(MINIMUM, [0, -2]), (MAXIMUM, [2, 0])])
def test_every_rank_gets_the_reduction(call: Collective, result: list[int]) -> None:
    answers, calls = go(3, lambda rank, ask: ask(call, [rank, -rank]))
    assert answers == dict.fromkeys(range(3), result)
    assert calls == ((call,),) * 3


def test_every_rank_gets_what_the_source_sends() -> None:
    call = Collective("broadcast", "tp", "1", (1,), "int64")
    answers, _ = go(2, lambda rank, ask: ask(call, [10 + rank]))
    assert answers == {0: [11], 1: [11]}


def test_one_collective_after_another() -> None:
    def body(rank: int, ask: Ask) -> list[int]:
        ask(BARRIER, [])
        return ask(MINIMUM, ask(MAXIMUM, [rank, rank]))

    answers, calls = go(2, body)
    assert answers == {0: [1, 1], 1: [1, 1]}
    assert calls == ((BARRIER, MAXIMUM, MINIMUM),) * 2


@pytest.mark.parametrize("absent", [0, 1])
def test_a_rank_that_goes_on_leaves_the_other_waiting(absent: int) -> None:
    answers, calls = go(2, lambda rank, ask: None if rank == absent else ask(MINIMUM, [0, 0]))
    assert answers == {absent: None}
    assert calls[absent] == ()
    assert calls[1 - absent] == (MINIMUM,)


@pytest.mark.parametrize(
    "other",
    [
        MAXIMUM,
        BARRIER,
        Collective("all_reduce", "attn_tp", "MIN", (2,), "int64"),
        Collective("all_reduce", "tp", "MIN", (1,), "int64"),
        Collective("all_reduce", "tp", "MIN", (2,), "int32"),
    ],
)
def test_different_calls_do_not_pair(other: Collective) -> None:
    answers, calls = go(2, lambda rank, ask: ask(other if rank else MINIMUM, [0, 0]))
    assert answers == {}
    assert calls == ((MINIMUM,), (other,))


SENT = Collective("send", "pp", "tag 2", (1,), "int32", peer=1)
RECEIVED = Collective("recv", "pp", "tag 2", (1,), "int32", peer=0)


def test_who_receives_gets_what_was_sent_first() -> None:
    def body(rank: int, ask: Ask) -> list[Any]:
        if rank == 0:
            return [ask(SENT, [7]), ask(SENT, [8])]
        return [ask(RECEIVED, []), ask(RECEIVED, [])]

    answers, calls = go(2, body)
    assert answers == {0: [[], []], 1: [[7], [8]]}
    assert calls == ((SENT, SENT), (RECEIVED, RECEIVED))


@pytest.mark.parametrize("sent", [None, Collective("send", "pp", "tag 3", (1,), "int32", peer=1)])
def test_who_receives_waits_for_a_message_of_the_kind(sent: Collective | None) -> None:
    def body(rank: int, ask: Ask) -> Any:
        if rank == 0:
            return ask(sent, [7]) if sent else None
        return ask(RECEIVED, [])

    answers, calls = go(2, body)
    assert list(answers) == [0]
    assert calls[1] == (RECEIVED,)


def test_ranks_that_are_stuck_are_stopped() -> None:
    with ranks(2, lambda rank, ask: None if rank else ask(BARRIER, [])) as running:
        running.perform({0: "go", 1: "go"})
        assert running.closed


class _Thing:
    """Sets order these by where they lie."""


def test_ranks_do_not_share_the_places_where_things_lie() -> None:
    def body(rank: int, ask: Ask) -> list[int]:
        things = [_Thing() for _ in range(50)]
        places = {thing: i for i, thing in enumerate(things)}
        return [places[thing] for thing in set(things)]

    answers, _ = go(2, body)
    assert answers[0] != answers[1]


def test_one_rank_does_something_alone() -> None:
    with ranks(2, lambda rank, ask: rank) as running:
        assert dict(running.perform({1: "go"}).answers) == {1: 1}
        assert dict(running.perform({0: "hello"}).answers) == {0: "hello"}


def test_a_rank_that_dies_is_told() -> None:
    with ranks(2, lambda rank, ask: os._exit(3) if rank else rank) as running:
        with pytest.raises(RankEnded, match="rank 1 ended with status 3"):
            running.perform({0: "go", 1: "go"})
        assert running.closed


def test_a_fault_of_ours_is_no_answer() -> None:
    told = pytest.raises(RuntimeError, match="rank 0 could not answer: ZeroDivisionError")
    with ranks(2, lambda rank, ask: 1 // rank) as running, told:
        running.perform({0: "go", 1: "go"})


# In the place of torch.distributed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Collective]]:
    """Calls of the stand-ins; another rank has 1 everywhere."""
    calls: list[Collective] = []

    def ask(call: Collective, values: list[Any]) -> list[Any]:
        calls.append(call)
        return [min(v, 1) for v in values]

    before = dict(vars(torch.distributed))
    Collectives(ask).install()
    yield calls
    for name, value in before.items():
        setattr(torch.distributed, name, value)


def test_a_tensor_is_reduced_in_place(asked: list[Collective]) -> None:
    tensor = torch.tensor([[0, 3]], dtype=torch.int32)
    group = Group("tp", 0, 2)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MIN, group=group)
    assert tensor.tolist() == [[0, 1]]
    assert tensor.dtype == torch.int32
    assert asked == [Collective("all_reduce", "tp", "MIN", (1, 2), "int32")]


def test_a_group_knows_its_ranks(asked: list[Collective]) -> None:
    group: Any = Group("tp", 1, 2)
    assert torch.distributed.get_world_size(group) == 2
    assert torch.distributed.get_rank(group) == 1
    torch.distributed.barrier(group)
    assert asked == [Collective("barrier", "tp")]


def test_a_message_has_a_peer(asked: list[Collective]) -> None:
    group: Any = Group("pp", 0, 2)
    sent = torch.distributed.isend(
        torch.tensor([3], dtype=torch.int32), group=group, tag=2, group_dst=1
    )
    assert sent is not None
    assert sent.is_completed()
    assert asked == [SENT]


def test_what_has_no_stand_in_stops_the_run(asked: list[Collective]) -> None:
    with pytest.raises(StubCalled):
        torch.distributed.all_gather([], torch.tensor(0))
    with pytest.raises(StubCalled):
        torch.distributed.barrier()
    with pytest.raises(StubCalled):
        torch.distributed.all_reduce(torch.tensor(0), async_op=True)
    assert asked == []
