"""Two ranks of a release: an unmodified one agrees, and one that goes its own way is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import source_of
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, WRITE_BACK, WRITE_THROUGH, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.trace import Trace
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.sglang.judge import Plan, judge, replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.wrong_ranks import WAYS, WRONG, WrongProcess

LATEST = "sglang==0.5.23"
TWO = Limits((FULL,), WRITE_THROUGH, host=True, ranks=2)


@pytest.mark.parametrize("policy", [WRITE_THROUGH, WRITE_BACK])
def test_ranks_of_a_release_agree(policy: str) -> None:
    limits = Limits((FULL, SWA), policy, ranks=2, kv_events=False)
    with ReleaseProcess(source_of(LATEST)) as process:
        run = judge(process, Plan(5, limits=limits), seed=1)
        again = judge(process, Plan(5, limits=limits), seed=1)
    assert run.found == again.found == []
    assert run.coverage == again.coverage
    assert run.coverage.steps > 200


def test_schedulers_of_all_ranks_admit_alike() -> None:
    limits = Limits((FULL, SWA), WRITE_THROUGH, ranks=2, kv_events=False, budget=True)
    with ReleaseProcess(source_of(LATEST)) as process:
        run = judge(process, Plan(4, limits=limits), seed=1)
    assert run.found == []
    assert run.coverage.outcomes["prefill", "ok"] > 3


@pytest.mark.parametrize("pipeline", [False, True])
def test_three_ranks_agree(pipeline: bool) -> None:
    with ReleaseProcess(source_of(LATEST)) as process:
        run = judge(process, Plan(2, limits=replace(TWO, ranks=3, pipeline=pipeline)), seed=1)
    assert run.found == []
    assert run.coverage.steps > 100


@pytest.mark.parametrize(
    ("way", "slugs"),
    [
        ("stays_away", {"ranks-call-the-same-collectives"}),
        ("takes_the_maximum", {"ranks-call-the-same-collectives"}),
        (
            "ignores_the_minimum",
            {"observing-acknowledges-finished-heads", "ranks-await-the-same-copies"},
        ),
        ("evicts_more", {"ranks-do-as-much", "ranks-hold-the-same-data"}),
        ("hears_nothing", {"ranks-call-the-same-collectives"}),
    ],
)
def test_a_rank_that_goes_its_own_way_is_caught(way: str, slugs: set[str]) -> None:
    with WrongProcess(source_of(LATEST), {WRONG: way}) as process:
        limits = replace(TWO, pipeline=way == "hears_nothing")
        run = judge(process, replace(_PLAN, limits=limits, wanted=frozenset(slugs)), seed=1)
    assert slugs <= {slug for found in run.found for slug in found.counterexample.slugs}


def test_the_same_seed_finds_the_same_trace() -> None:
    traces = []
    with WrongProcess(source_of(LATEST), {WRONG: "evicts_more"}) as process:
        for _ in range(2):
            run = judge(process, replace(_PLAN, wanted=frozenset({"ranks-do-as-much"})), seed=1)
            traces.append([found.counterexample.trace for found in run.found])
    assert traces[0] == traces[1] != []


_PLAN = Plan(40, limits=TWO, shrinks=False)


def test_every_wrong_way_is_tried() -> None:
    tried = {way for way, _ in _WAYS_TRIED}
    assert tried == set(WAYS)


_WAYS_TRIED = test_a_rank_that_goes_its_own_way_is_caught.pytestmark[0].args[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [
        ["--subject", "torch"],
        ["--subject", LATEST, "--core", "rust"],
        ["--subject", LATEST, "--relation"],
        ["--subject", LATEST, "--components", "full,mamba"],
    ],
)
def test_ranks_where_there_are_none_are_one_line(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--ranks", "2", "--time", "1", *options]) == 2
    told = capsys.readouterr()
    assert len(told.err.strip().splitlines()) == 1
    assert "ranks" in told.err


@pytest.mark.nightly
def test_stages_that_size_their_own_host_pools_go_apart() -> None:
    """docs/findings/stages-size-their-host.md"""
    config = CacheConfig((FULL,), full_slots=4, host_full_slots=5, ranks=2, pipeline=True)
    config = replace(config, later_host_full_slots=9)
    key = (1, 1, 1, 1)
    copied = (op.Execute(op.WRITE), op.Observe(op.WRITE))
    trace = Trace(config, (op.Insert(key), *copied, op.Evict(4), op.Insert((2, 2))))
    with ReleaseProcess(source_of("sglang==0.5.14")) as process:
        found = replay_on(process, trace)
        assert found is not None
        assert found.step == 4
        assert "ranks-have-the-same-tree" in found.slugs
        assert replay_on(process, replace(trace, config=_alike(config))) is None
    with ReleaseProcess(source_of("sglang==0.5.15")) as process:
        with pytest.raises(ConfigError, match="equally many host slots"):
            replay_on(process, trace)
        assert replay_on(process, replace(trace, config=_alike(config))) is None


def _alike(config: CacheConfig) -> CacheConfig:
    return replace(config, later_host_full_slots=0)
