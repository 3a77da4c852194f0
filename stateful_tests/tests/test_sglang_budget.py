"""A release's own budget around the admissions of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.trace import Trace
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.tests.holding import outcomes

BUDGET = Path("sglang/srt/mem_cache/prefill_budget.py")
POLICY = Path("sglang/srt/managers/schedule_policy.py")


def server(*components: str, chunk: int = 0, page: int = 1, slots: int = 16) -> CacheConfig:
    return CacheConfig(
        components=components,
        page_size=page,
        full_slots=slots,
        swa_slots=slots,
        host_full_slots=0,
        host_swa_slots=0,
        max_new_tokens=2,
        chunked_prefill_size=chunk,
    )


@pytest.fixture(scope="module", params=["0.5.13", "0.5.23"])
def release(request: pytest.FixtureRequest) -> Iterator[ReleaseProcess]:
    with start(f"sglang=={request.param}", PYTHON, {}) as running:
        yield running


BATCH = (
    op.Admit("a", (1, 1, 1)),
    op.Prepare("b", (2, 2, 2)),  # illegal in a round
    op.Admit("b", (2, 2, 2)),
    op.Prefill("b", 3),
    op.Prefill("a", 3),
    op.Decode("a", (1, 1)),
    op.Finish("a"),
    op.Finish("b"),
)


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_batch_gets_its_slots_at_once(
    release: ReleaseProcess, components: tuple[str, ...], page: int
) -> None:
    coverage = outcomes(release, server(*components, page=page, slots=32), *BATCH)
    assert coverage.outcomes["prepare", "E_ARG"] == 1
    assert coverage.outcomes["admit", "ok"] == 2
    assert coverage.outcomes["prefill", "ok"] == 2


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_prompt_that_is_cut_goes_on_first(
    release: ReleaseProcess, components: tuple[str, ...]
) -> None:
    """And what the budget does not give is not computed."""
    coverage = outcomes(
        release,
        server(*components, chunk=4),
        op.Admit("a", (1,) * 6),
        op.Prefill("a", 6),
        op.Prefill("a", 4),
        op.Prefill("a", 1),
        op.Admit("b", (2, 2, 2)),  # of the next four, two are left
        op.Prefill("a", 2),
        op.Prefill("b", 2),
        op.Prefill("b", 1),
        op.Abort("a"),
        op.Abort("b"),
    )
    assert coverage.outcomes["prefill", "E_ARG"] == 2
    assert coverage.outcomes["prefill", "ok"] == 4
    assert coverage.outcomes["abort", "ok"] == 2


def test_who_does_not_fit_waits(release: ReleaseProcess) -> None:
    """Eviction counts as room, a running request does not."""
    coverage = outcomes(
        release,
        server(FULL),
        op.Insert((3,) * 8),
        op.Admit("a", (1,) * 9),
        op.Prefill("a", 9),
        op.Admit("b", (2,) * 9),
        op.Prepare("b", (2,) * 9),
        op.Proceed("b"),
        op.Abort("a"),
        op.Proceed("b"),
        op.Prefill("b", 9),
        op.Decode("b", (1, 1, 1)),  # more than it may have
        op.Finish("b"),
    )
    assert coverage.outcomes["admit", "refused"] == 1
    assert coverage.outcomes["proceed", "refused"] == 1
    assert coverage.outcomes["proceed", "ok"] == 1
    assert coverage.outcomes["decode", "E_PROTO"] == 1


def test_a_budget_goes_without_states(release: ReleaseProcess) -> None:
    config = CacheConfig((FULL, MAMBA), host_full_slots=0, max_new_tokens=1)
    with pytest.raises(ConfigError, match="without mamba"):
        replay_on(release, Trace(config, (op.Match((1,)),)))


def test_walks_ask_the_budget_where_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["check", "--subject", "sglang==0.5.23", "--budget", "--seed", "1", "--time", "2"]
    assert main([*argv, "--components", "full", "--policy", "write_through"]) == 0
    assert main([*argv, "--components", "full,mamba"]) == 2
    assert main([*argv, "--relation"]) == 2
    assert main(["check", "--budget", "--seed", "1"]) == 2
    capsys.readouterr()


PROMISES_TOO_MUCH = """
    def _available_and_evictable(self):
        return super()._available_and_evictable() + 100
"""
SEES_NO_ROOM = """
    def _available_and_evictable(self):
        return 0
"""
EVICTS_AND_REFUSES = """
    def add_one_req(self, req, has_chunked_req, truncation_align_size):
        from sglang.srt.mem_cache.base_prefix_cache import EvictParams
        self.tree_cache.evict(EvictParams(num_tokens=1))
        return AddReqResult.NO_TOKEN
"""
COMPUTES_NOTHING = """
    def _commit_prefill_admission(self, req, admission, mamba_gap_reserve):
        super()._commit_prefill_admission(req, admission, mamba_gap_reserve)
        req.extend_end = req.prefix_len
"""
KEEPS_ITS_LOCK = """
    @contextmanager
    def _lock_node(self, last_node, *, lock_host=False):
        self.tree_cache.lock(last_node)
        yield None
"""
ONE = (op.Insert((1, 1, 1)), op.Admit("a", (1, 1, 1, 2)))
TOO_LONG = (op.Admit("a", (1,) * 20), op.Prefill("a", 20))


@pytest.mark.parametrize(
    ("inside", "kind", "body", "operations", "caught"),
    [
        (BUDGET, "PrefillBudget", PROMISES_TOO_MUCH, TOO_LONG, "who-is-admitted-gets-slots"),
        (BUDGET, "PrefillBudget", SEES_NO_ROOM, ONE, "who-is-alone-is-admitted"),
        (POLICY, "PrefillAdder", EVICTS_AND_REFUSES, ONE, "who-is-not-admitted-takes-nothing"),
        (POLICY, "PrefillAdder", COMPUTES_NOTHING, ONE, "who-is-admitted-is-computed"),
        (POLICY, "PrefillAdder", KEEPS_ITS_LOCK, ONE, "lock-counts-are-sums-of-receipts"),
    ],
    ids=["promises too much", "sees no room", "evicts", "computes nothing", "keeps its lock"],
)
def test_a_wrong_budget_is_caught(
    inside: Path,
    kind: str,
    body: str,
    operations: tuple[op.Operation, ...],
    caught: str,
    tmp_path: Path,
) -> None:
    """In copies of a release whose budget is wrong."""
    root = broken_copy(fetch("0.5.23"), tmp_path, body, inside=inside, kind=kind)
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = replay_on(broken, Trace(server(FULL), operations))
    assert found is not None
    assert caught in found.slugs
    assert found.step == len(operations) - 1
