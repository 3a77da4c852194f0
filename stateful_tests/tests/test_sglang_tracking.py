"""SGLang with a tracking buffer for recurrent states: what is driven, what is found, what is not.

What needs a release is fetched from the package index.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.invariants.checker import check_state, check_step
from radixproof.model import operations as op
from radixproof.model.config import (
    EXTRA_BUFFER,
    EXTRA_BUFFER_LAZY,
    FULL,
    MAMBA,
    SWA,
)
from radixproof.model.errors import ConfigError
from radixproof.model.reference import ReferenceModel
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.bugs.open import OPEN
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import Plan, judge, replay_on
from radixproof.stateful_tests.sglang.legal.use import why_illegal
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.tests.put_aside import (
    PLAIN,
    chunk_of_a_tracking_server,
    put_aside_wrongly,
    tracking,
)

CONFIG = replace(
    PLAIN,
    page_size=2,
    full_slots=32,
    swa_slots=0,
    host_swa_slots=0,
    mamba_slots=12,
    host_mamba_slots=0,
    mamba_strategy=EXTRA_BUFFER,
)
LIFE = (
    op.Admit("r1", (1, 2, 1, 2, 1)),
    op.Prefill("r1", 5),
    op.Decode("r1", (1, 1, 1)),
    op.Decode("r1", (2, 2)),
    op.Finish("r1"),
    op.Match((1, 2, 1, 2, 1, 1, 1, 1, 2)),
)


OVERLAPPED = Trace(replace(CONFIG, overlap_schedule=True), LIFE)


def test_a_request_hands_over_what_it_put_aside() -> None:
    """Of five tokens the first four, of ten the first eight: chunks of two, every fourth token."""
    coverage = Coverage()
    with start("sglang==0.5.23", PYTHON, {}) as running:
        assert replay_on(running, Trace(CONFIG, LIFE), coverage=coverage) is None
        hit = Trace(CONFIG, (*LIFE, op.Admit("r2", (1, 2, 1, 2, 1, 1, 1, 1, 2, 2))))
        assert replay_on(running, hit, coverage=coverage) is None
        assert replay_on(running, OVERLAPPED, coverage=coverage) is None
    assert coverage.steps == 3 * len(LIFE) + 1
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


PLANTED = {
    "the slot that is handed over is not replaced": (
        "sglang/srt/mem_cache/memory_pool.py",
        "HybridReqToTokenPool",
        """
    def donate_mamba_ping_pong_slot(self, req, new_slot):
        self.mamba_allocator.free(new_slot)
        kept = self.get_mamba_ping_pong_keep_idx(req)
        return req.kv.mamba_ping_pong_track_buffer[kept].unsqueeze(-1).clone()
""",
        "device-slots-have-one-owner",
    ),
    "a shorter prefix than that of the state": (
        "sglang/srt/mem_cache/unified_cache/components/mamba.py",
        "MambaComponent",
        """
    def prepare_for_caching_req(self, req, insert_params, token_ids_len, is_finished):
        end = super().prepare_for_caching_req(req, insert_params, token_ids_len, is_finished)
        return end and max(0, end - self.mamba_checkpoint_grid)
""",
        "device-slots-hold-their-prefix",
    ),
    "the state before the last is kept": (
        "sglang/srt/mem_cache/memory_pool.py",
        "HybridReqToTokenPool",
        """
    def get_mamba_ping_pong_keep_idx(self, req):
        return self.get_mamba_ping_pong_other_idx(req.kv.mamba_last_track_idx)
""",
        "device-slots-hold-their-prefix",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_found(name: str, tmp_path: Path) -> None:
    """By the life of one request, in which the release itself does nothing wrong."""
    module, kind, method, wanted = PLANTED[name]
    root = broken_copy(fetch("0.5.23"), tmp_path, method, inside=Path(module), kind=kind)
    with start(f"sglang:{root}", PYTHON, {}) as running:
        found = replay_on(running, OVERLAPPED)
    assert found is not None
    assert wanted in found.slugs


def test_walks_find_a_planted_defect(tmp_path: Path) -> None:
    module, kind, method, wanted = PLANTED["a shorter prefix than that of the state"]
    root = broken_copy(fetch("0.5.23"), tmp_path, method, inside=Path(module), kind=kind)
    limits = Limits((FULL, MAMBA), host=False, mamba_strategy=EXTRA_BUFFER)
    with start(f"sglang:{root}", PYTHON, {}) as running:
        run = judge(running, Plan(200, limits=limits, wanted=frozenset({wanted})), seed=0)
    assert run.stopped == ""
    assert wanted in {slug for f in run.found for slug in f.counterexample.slugs}


def test_walks_of_a_release_find_what_is_known_and_nothing_else() -> None:
    """With pages and overlap, on one tier, where no backup pins a state."""
    known = OPEN["overwritten-checkpoint"].wanted
    whole = Coverage()
    with start("sglang==0.5.23", PYTHON, {}) as running:
        for strategy in (EXTRA_BUFFER, EXTRA_BUFFER_LAZY):
            limits = Limits((FULL, SWA, MAMBA), host=False, mamba_strategy=strategy)
            run = judge(running, Plan(25, limits=limits), seed=4)
            assert run.stopped == ""
            assert {slug for f in run.found for slug in f.counterexample.slugs} <= known
            whole.add(run.coverage)
    done = {operation for operation, kind in whole.outcomes if kind == "ok"}
    assert done >= {"admit", "prefill", "decode", "slide_window", "finish", "retract", "proceed"}


def test_each_wrong_way_to_put_a_state_aside_is_told() -> None:
    slugs = [{v.slug for v in check_state(state)} for state in put_aside_wrongly()]
    length = "a-state-put-aside-is-that-of-its-length"
    assert [length in found for found in slugs] == [True, True, True, False]
    assert "running-requests-have-their-tracking-slots" in slugs[3]


@pytest.mark.parametrize(
    ("chunk", "wanted"),
    [
        (2, set()),
        (3, {"what-was-put-aside-is-cached", "nothing-put-aside-nothing-cached"}),
        (8, {"nothing-put-aside-nothing-cached"}),
    ],
)
def test_a_chunk_caches_what_it_put_aside(chunk: int, wanted: set[str]) -> None:
    told = {v.slug for v in check_step(*chunk_of_a_tracking_server(chunk))}
    both = {"what-was-put-aside-is-cached", "nothing-put-aside-nothing-cached"}
    assert told & both == wanted


IMPOSSIBLE: dict[str, dict[str, object]] = {
    "page_size must be 1 with mamba": {"mamba_strategy": "no_buffer"},
    "overlap_schedule is said of": {
        "page_size": 1,
        "mamba_strategy": "no_buffer",
        "overlap_schedule": True,
    },
    "needs mamba": {"components": (FULL, SWA)},
    "needs overlap_schedule": {"mamba_strategy": EXTRA_BUFFER_LAZY},
    "one must divide the other": {"mamba_chunk_size": 3},
    "must be a multiple of page_size": {"mamba_track_interval": 3},
    "must be at least 2": {"mamba_chunk_size": 1},
    "must be one of": {"mamba_strategy": "buffer"},
}


@pytest.mark.parametrize(("why", "changes"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_a_configuration_that_no_server_has_is_one_line(
    why: str, changes: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(CONFIG, swa_slots=32, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--components", "full,mamba"],
        ["--components", "full,swa", "--subject", "sglang==0.5.23"],
        ["--subject", "sglang==0.5.23"],
    ],
)
def test_a_strategy_for_nobody_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--mamba-strategy", "extra_buffer", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_an_old_release_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(dumps(Trace(CONFIG, LIFE)), encoding="utf-8")
    assert main(["replay", str(path), "--subject", "sglang==0.5.12.post1"]) == 2
    assert "0.5.13" in capsys.readouterr().err


def test_the_specification_has_no_tracking_buffer_yet() -> None:
    for opened in (ReferenceModel, open_torch):
        with pytest.raises(ConfigError, match="SGLang"):
            opened(CONFIG)


def test_a_trace_says_the_strategy() -> None:
    trace = Trace(replace(CONFIG, overlap_schedule=True), LIFE)
    assert loads(dumps(trace)) == trace


def test_a_server_has_states_for_its_buffers_too() -> None:
    model = ReferenceModel(replace(PLAIN, mamba_slots=7))
    model.apply(op.Admit("r1", (1, 2)))
    model.apply(op.Prefill("r1", 2))
    state = tracking(model.snapshot(), 2)
    state = replace(state, config=replace(state.config, mamba_slots=7))
    assert "every 4 state slots" in (why_illegal(state, op.Admit("r2", (1, 2))) or "")


def test_a_prompt_is_cut_at_whole_pages() -> None:
    model = ReferenceModel(PLAIN)
    model.apply(op.Admit("r1", (1, 2, 1, 2, 1)))
    state = tracking(model.snapshot(), 2)
    state = replace(state, config=replace(state.config, page_size=2))
    assert why_illegal(state, op.Prefill("r1", 3)) == "a prompt is cut at whole pages"
    assert why_illegal(state, op.Prefill("r1", 4)) is None
    assert why_illegal(state, op.Prefill("r1", 5)) is None
