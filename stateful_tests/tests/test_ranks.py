"""Agreement of ranks: no rule is vacuous, none cries wolf, and each says what is apart."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from radixproof.invariants.catalogue import CATALOGUE, RANKS, RanksStep, number_judged
from radixproof.invariants.checker import TOO_BROKEN, check_ranks
from radixproof.invariants.view import View
from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome, ok, refused
from radixproof.model.ranks import Collective
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import Limits, draw_config
from radixproof.stateful_tests.sglang.legal import ranks
from radixproof.stateful_tests.sglang.reach import DEFAULT
from radixproof.stateful_tests.tests.corruptions import CORRUPTIONS
from radixproof.stateful_tests.tests.runs import observed_steps

POLL = Collective("all_reduce", "tp", "MIN", (1,), "int32", where="here")
SENT = Collective("send", "pp", "tag 2", (1,), "int32", peer=1)
RECEIVED = Collective("recv", "pp", "tag 2", (1,), "int32", peer=0)
LOOK = op.Match((1,))
RULES = {i.slug for i in CATALOGUE.values() if i.kind == RANKS}


def violated(
    states: list[Snapshot],
    operation: Operation = LOOK,
    outcomes: tuple[Outcome, ...] = (),
    calls: tuple[tuple[Collective, ...], ...] = ((), ()),
) -> set[str]:
    step = RanksStep(operation, outcomes, tuple(map(View, states)), calls)
    found = check_ranks(step)
    assert not [v for v in found if TOO_BROKEN in v.fault.message]
    return {v.slug for v in found}


def state(*operations: Operation) -> Snapshot:
    model = ReferenceModel(CacheConfig(components=(FULL,)))
    for operation in operations:
        assert model.apply(operation).error is None
    return model.snapshot()


def test_equal_ranks_keep_every_rule() -> None:
    for seed in range(20):
        for _, operation, outcome, after in observed_steps(seed, 30):
            both = (outcome, outcome)
            assert violated([after, after], operation, both, ((POLL,), (POLL,))) == set()


def test_every_rule_about_states_notices_a_corruption_of_one_rank() -> None:
    choose, noticed = RandomChooser(Random(1)), set[str]()
    for seed in range(40):
        for _, operation, _, after in observed_steps(seed, 30):
            wrong = CORRUPTIONS[choose.pick(tuple(CORRUPTIONS))](after, choose)
            noticed |= violated([after, wrong], operation)
    assert noticed == RULES - {
        "ranks-call-the-same-collectives",
        "ranks-answer-alike",
        "ranks-do-as-much",
    }


def test_a_rank_that_stays_away_is_named_with_the_place_of_the_other() -> None:
    step = RanksStep(op.Observe(op.WRITE), (), (), ((), (POLL,)))
    found = check_ranks(step)
    assert [v.slug for v in found] == ["ranks-call-the-same-collectives"]
    assert "rank 0 calls nothing" in found[0].fault.message
    assert "rank 1 calls all_reduce MIN int32 of shape [1] over tp (here)" in found[0].fault.message


@pytest.mark.parametrize("received", [(), (replace(RECEIVED, reduction="tag 3"),)])
def test_a_message_that_nobody_receives_is_told(received: tuple[Collective, ...]) -> None:
    assert violated([], op.Observe(op.WRITE), (), ((SENT,), (RECEIVED,))) == set()
    wrong = violated([], op.Observe(op.WRITE), (), ((SENT,), received))
    assert wrong == {"ranks-call-the-same-collectives"}


def test_where_a_collective_is_called_makes_no_difference() -> None:
    calls = ((POLL,), (replace(POLL, where="elsewhere"),))
    assert violated([], op.Observe(op.WRITE), (), calls) == set()


@pytest.mark.parametrize(
    ("operation", "answers", "slug"),
    [
        (op.Match((1,)), (ok(device_hit=1), ok(device_hit=0)), "ranks-answer-alike"),
        (op.Prefill("r1", 1), (ok(), refused("no slots")), "ranks-answer-alike"),
        (op.Insert((1,)), (ok(prefix_len=0), refused("no slots")), "ranks-answer-alike"),
        (op.Insert((1,)), (ok(prefix_len=0), ok(prefix_len=1)), "ranks-do-as-much"),
        (op.Evict(1), (ok(freed_full=1), ok(freed_full=0)), "ranks-do-as-much"),
        (op.Observe(op.LOAD), (ok(acknowledged=1), ok(acknowledged=0)), "ranks-do-as-much"),
    ],
)
def test_other_answers_are_told(
    operation: Operation, answers: tuple[Outcome, ...], slug: str
) -> None:
    assert slug in violated([], operation, answers)


def test_which_copies_have_run_may_differ() -> None:
    queued = state(op.Insert((1, 1)))
    run = state(op.Insert((1, 1)), op.Execute(op.WRITE))
    assert queued.writes != run.writes
    assert violated([queued, run]) == set()


def test_an_acknowledgement_on_one_rank_alone_is_apart() -> None:
    copies = (op.Insert((1, 1)), op.Execute(op.WRITE))
    assert {
        "ranks-await-the-same-copies",
        "ranks-hold-the-same-locks",
        "ranks-evict-in-the-same-order",
    } <= violated([state(*copies), state(*copies, op.Observe(op.WRITE))])


def test_a_node_on_one_rank_alone_is_apart() -> None:
    assert "ranks-have-the-same-tree" in violated([state(), state(op.Insert((1,)))])


# In traces, configurations and legality


def test_ranks_are_in_configurations_and_traces() -> None:
    trace = Trace(CacheConfig(ranks=2), (op.Execute(op.WRITE, rank=1), op.Execute(op.LOAD)))
    assert loads(dumps(trace)) == trace
    assert '"rank": 1' in dumps(trace)


def test_ranks_are_drawn_only_when_they_are_asked_for() -> None:
    assert all(draw_config(RandomChooser(Random(seed))).ranks == 1 for seed in range(30))
    assert not Limits().admit(CacheConfig(ranks=2)) or Limits().ranks is None
    assert not Limits(ranks=2).admit(CacheConfig())


def test_the_specification_is_of_one_rank() -> None:
    with pytest.raises(ConfigError, match="several ranks"):
        ReferenceModel(CacheConfig(ranks=2))
    assert ReferenceModel(CacheConfig()).apply(op.Execute(op.WRITE, rank=1)).kind == "E_ARG"


def test_a_run_of_one_rank_does_not_count_what_is_about_several() -> None:
    assert number_judged(2) - number_judged(1) == len(RULES) > 0


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        (op.Execute(op.WRITE, rank=2), "there is no rank 2"),
        (op.Observe(op.WRITE, limit=1), "they tell themselves"),
        (op.Execute(op.WRITE, rank=1), None),
        (op.Observe(op.WRITE), None),
    ],
)
def test_what_ranks_cannot_do_says_why(operation: Operation, told: str | None) -> None:
    why = ranks.why_illegal([state(), state()], operation, DEFAULT)
    assert (why is None) == (told is None)
    assert told is None or told in (why or "")


def test_a_later_stage_has_finished_what_the_first_has() -> None:
    queued, run = (
        replace(s, config=replace(s.config, ranks=2, pipeline=True))
        for s in (state(op.Insert((1, 1))), state(op.Insert((1, 1)), op.Execute(op.WRITE)))
    )
    poll = op.Observe(op.WRITE)
    assert "later stage" in (ranks.why_illegal([run, queued], poll, DEFAULT) or "")
    assert ranks.why_illegal([queued, run], poll, DEFAULT) is None


def test_a_pipeline_has_stages() -> None:
    with pytest.raises(ConfigError, match="two ranks or more"):
        CacheConfig(pipeline=True)
    with pytest.raises(ConfigError, match="pipeline's stages"):
        CacheConfig(ranks=2, later_host_full_slots=32)


def test_a_load_that_one_rank_has_no_counter_for_is_illegal() -> None:
    keys = ((1,), (2,), (3,))
    begin: list[Operation] = [op.Insert(k) for k in keys]
    begin += [op.Execute(op.WRITE)] * 3 + [op.Observe(op.WRITE), op.Evict(3)]
    for key in keys:
        begin += [op.LoadBack(key), op.StartLoading()]
    waiting = state(*begin)
    fewer = state(*begin, op.Execute(op.LOAD), op.Observe(op.LOAD))
    assert ranks.why_illegal([waiting, fewer], op.Admit("r1", (1, 1)), DEFAULT)
    assert ranks.why_illegal([waiting, waiting], op.Admit("r1", (1, 1)), DEFAULT) is None
    assert ranks.why_illegal([waiting, fewer], op.StartLoading(), DEFAULT)
