"""A release as the decode server of prefill-decode disaggregation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.trace import Trace
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.tests.holding import outcomes

DECODE = Path("sglang/srt/disaggregation/decode.py")
KEY = (1,) * 6


def server(*components: str, page: int = 2, **more: int) -> CacheConfig:
    return CacheConfig(
        components=components,
        page_size=page,
        full_slots=more.get("slots", 32),
        swa_slots=more.get("slots", 32) if SWA in components else 0,
        host_full_slots=0,
        host_swa_slots=0,
        decode_server=True,
    )


@pytest.fixture(scope="module", params=["0.5.19", "0.5.23"])
def release(request: pytest.FixtureRequest) -> Iterator[ReleaseProcess]:
    with start(f"sglang=={request.param}", PYTHON, {}) as running:
        yield running


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_prompt_arrives_as_a_whole_and_decodes(
    release: ReleaseProcess, components: tuple[str, ...]
) -> None:
    coverage = outcomes(
        release,
        server(*components),
        op.Admit("a", KEY),
        op.Decode("a", (2,)),  # it has not arrived
        op.Prefill("a", 3),  # nor does it come in parts
        op.Prefill("a", 6),
        op.Decode("a", (2, 2)),
        op.Finish("a"),
        op.Match((*KEY, 2, 2)),
    )
    assert coverage.outcomes["decode", "E_PROTO"] == 1
    assert coverage.outcomes["prefill", "E_ARG"] == 1
    assert coverage.outcomes["prefill", "ok"] == 1
    assert coverage.outcomes["finish", "ok"] == 1


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_failed_transfer_gives_everything_back(
    release: ReleaseProcess, components: tuple[str, ...]
) -> None:
    """Nothing is cached, and nothing is held: the pools are judged to have one owner each."""
    coverage = outcomes(
        release,
        server(*components),
        op.Admit("a", KEY),
        op.Abort("a"),
        op.Match(KEY),
        op.Admit("b", KEY),
        op.Prefill("b", 6),
        op.Finish("b"),
        op.Reset(),
    )
    assert coverage.outcomes["abort", "ok"] == 1
    assert coverage.outcomes["reset", "ok"] == 1


def test_what_a_decode_server_never_does_is_illegal(release: ReleaseProcess) -> None:
    coverage = outcomes(
        release, server(FULL), op.Insert(KEY), op.Admit("a", (1,)), op.Prepare("a", KEY)
    )
    assert {kind for _, kind in coverage.outcomes} == {"E_ARG"}


def test_a_prompt_waits_where_the_pools_are_short(release: ReleaseProcess) -> None:
    coverage = outcomes(release, server(FULL, slots=8), op.Admit("a", KEY), op.Admit("b", (2,) * 6))
    assert coverage.outcomes["admit", "refused"] == 1


def test_a_decode_server_has_one_tier_here(release: ReleaseProcess) -> None:
    config = replace(server(FULL), host_full_slots=64)
    with pytest.raises(ConfigError, match="one tier"):
        replay_on(release, Trace(config, (op.Match((1,)),)))


def test_an_old_release_has_no_such_server() -> None:
    with (
        start("sglang==0.5.12.post1", PYTHON, {}) as running,
        pytest.raises(ConfigError, match="not driven"),
    ):
        replay_on(running, Trace(server(FULL), (op.Match((1,)),)))


@pytest.mark.parametrize(
    ("version", "why"),
    [("0.5.12.post1", "is not driven"), ("0.5.18", "has no radix cache beside sliding windows")],
)
def test_what_no_decode_server_of_a_release_is_takes_one_line(
    version: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["check", "--subject", f"sglang=={version}", "--decode-server"]
    assert main([*argv, "--components", "full,swa", "--time", "1"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith(f"a decode server of this release {why}")


def test_walks_are_a_decode_servers_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["check", "--subject", "sglang==0.5.23", "--decode-server", "--seed", "1", "--time", "2"]
    assert main([*argv, "--components", "full"]) == 0
    unjudged, partly = capsys.readouterr().out.split("checked in part")
    assert "an-admission-reports-what-a-match-would: a decode server" in unjudged
    assert "device-slots-hold-their-prefix: on a decode server SWA is not judged" in partly
    assert main([*argv, "--budget"]) == 2
    assert main([*argv, "--bigram"]) == 2
    assert main(["check", "--decode-server", "--seed", "1"]) == 2
    capsys.readouterr()


LOSES_THE_PREFIX = """
    def _pre_alloc(self, req, prefix_indices=None, prefix_len=None, total_prefix_len=None):
        return super()._pre_alloc(req)
"""
ALLOTS_TOO_LITTLE = """
    def _swa_tail_len(self, seq_len):
        return min(self.token_to_kv_pool_allocator.page_size, seq_len)
"""


@pytest.mark.parametrize(
    ("body", "components", "caught"),
    [
        (LOSES_THE_PREFIX, (FULL,), "handed-out-slots-are-the-paths"),
        (ALLOTS_TOO_LITTLE, (FULL, SWA), "an-admitted-request-is-the-one-given"),
    ],
    ids=["loses the prefix", "allots too little"],
)
def test_a_wrong_preallocation_is_caught(
    body: str, components: tuple[str, ...], caught: str, tmp_path: Path
) -> None:
    """In copies of a release whose decode side is wrong."""
    operations = (
        op.Admit("a", KEY),
        op.Prefill("a", 6),
        op.Finish("a"),
        op.Admit("b", (*KEY, 2)),
        op.Prefill("b", 1),
    )
    config = replace(server(*components), sliding_window=6)
    kind = "DecodePreallocQueue"
    root = broken_copy(fetch("0.5.23"), tmp_path, body, inside=DECODE, kind=kind)
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = replay_on(broken, Trace(config, operations))
    assert found is not None
    assert caught in found.slugs
