"""The Rust cores of SGLang: what is read of them is what the Python core shows, and is judged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.listing import listed
from radixproof.impl.sglang.release import NotSglang
from radixproof.impl.sglang.wheels import PYTHON, RUST, fetch
from radixproof.invariants.catalogue import CATALOGUE, number_judged
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, WRITE_BACK, CacheConfig
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS
from radixproof.stateful_tests.configs import ANY, Limits
from radixproof.stateful_tests.corpus import save
from radixproof.stateful_tests.mutation.planting import linked_copy
from radixproof.stateful_tests.sglang.diff import Pair, Step
from radixproof.stateful_tests.sglang.judge import Plan, judge, replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess, unpack
from radixproof.stateful_tests.sglang.shown import shown
from radixproof.stateful_tests.tests.between_releases import holds, shows

RELEASE = "0.5.23"
EXTENSION = Path("sglang/srt/mem_cache/rust_tree_core/mem_cache.cpython-311-x86_64-linux-gnu.so")
STATES = ((FULL, MAMBA), (FULL, SWA, MAMBA))
LIMITS = [ANY] * 6 + [Limits(components=c) for c in STATES for _ in range(2)]


QUIET = Plan(25, limits=Limits(kv_events=False))
"""Without events, of which 0.5.23 tells wrong ones under write-back (docs/findings)."""


def cores(version: str) -> Pair:
    """The Python and the Rust core of a release, each in its process."""
    return Pair(start(f"sglang=={version}", PYTHON, {}), start(f"sglang=={version}", RUST, {}))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    both = cores(RELEASE)
    with both.left, both.right:
        yield both


def steps(process: ReleaseProcess, trace: Trace, *, look: bool = True) -> list[Step]:
    """What each step answered and left behind."""
    *_, done = process.ask({"do": "steps", "trace": dumps(trace), "look": look})
    found: list[Step] = unpack(done["steps"])
    return found


def states(process: ReleaseProcess, trace: Trace) -> list[Snapshot]:
    return [state for _, _, state in steps(process, trace) if state is not None]


def test_both_cores_show_the_same_state(pair: Pair) -> None:
    """Slot by slot, on every field that the Rust core shows."""
    seen: list[Snapshot] = []
    for seed, limits in enumerate(LIMITS):
        trace = pair.drawn(seed, limits)
        left, right = steps(pair.left, trace), steps(pair.right, trace)
        for (outcome, _, state), (other_outcome, _, other) in zip(left, right, strict=True):
            assert state is not None
            assert other is not None
            assert outcome == other_outcome
            assert shown(state) == shown(other)
            seen.append(other)
    placed = [n for s in seen for n in s.nodes]
    assert len(seen) > 300
    assert any(n.evicted for n in placed)
    assert any(n.backuped and not n.evicted for n in placed)
    assert any(n.swa and n.swa.host and n.swa.device is None for n in placed)
    assert any(n.swa and n.swa.device is None and n.swa.host is None for n in placed)
    assert any(n.full.lock > 1 for n in placed)
    assert any(n.swa and n.swa.lock for n in placed)
    assert any(n.namespace for n in placed)
    assert any(n.mamba and n.mamba.device and n.mamba.lock for n in placed)
    assert any(n.mamba and n.mamba.host for n in placed)
    assert any(s.writes for s in seen)
    assert any(s.loads for s in seen)
    assert any(r.owner == "client" for s in seen for r in s.receipts)


def test_looking_changes_no_decision(pair: Pair) -> None:
    """Page hashes that are asked for at every look move nothing (rust_tree.py)."""
    for seed, limits in enumerate(LIMITS[::2]):
        trace = pair.drawn(seed, limits)
        looked, blind = steps(pair.right, trace), steps(pair.right, trace, look=False)
        assert [x[:2] for x in looked] == [x[:2] for x in blind]


def test_the_rust_core_is_judged(pair: Pair) -> None:
    run = judge(pair.right, QUIET, seed=3)
    assert run.found == []
    assert not run.stopped
    assert run.coverage.steps > 1_000
    assert set(run.not_checked) | set(run.in_part) <= set(CATALOGUE)
    assert not set(run.not_checked) & set(run.in_part)
    of_python = judge(pair.left, Plan(1), seed=3)
    assert set(of_python.not_checked) < set(run.not_checked)
    assert of_python.in_part == {}
    again = judge(pair.right, QUIET, seed=3)
    assert asdict(again.coverage) == asdict(run.coverage)


def test_the_command_says_what_it_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["check", "--subject", f"sglang=={RELEASE}", "--core", "rust", "--time", "1"]
    assert main([*argv, "--seed", "3", "--policy", "write_through"]) == 0
    told = capsys.readouterr().out
    assert f" of {number_judged()} invariants and " in told
    assert " in part, " in told
    assert "    device-leaf-set-is-exact: leaf sets" in told
    assert "checked in part:\n" in told


@pytest.fixture(scope="module")
def without_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose Rust core is gone: it would run its Python core and say nothing."""
    return linked_copy(fetch(RELEASE), tmp_path_factory.mktemp("without"), {str(EXTENSION): None})


def test_a_release_that_falls_back_is_no_rust_core(
    without_core: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = f"sglang:{without_core}"
    trace = str(save(Trace(CacheConfig(), ()), tmp_path, "empty"))
    for argv in (
        ["check", "--subject", subject, "--core", "rust", "--time", "1"],
        ["replay", trace, "--subject", subject, "--core", "rust"],
        ["diff", "--subject", f"{subject}+rust", "--subject", subject, "--time", "1"],
    ):
        assert main(argv) == 2
        told = capsys.readouterr().err.strip()
        assert len(told.splitlines()) == 1
        assert "the rust core of this SGLang is not there" in told


def test_a_release_from_before_the_rust_core_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["check", "--subject", "sglang==0.5.13", "--core", "rust", "--time", "1"]
    assert main(argv) == 2
    assert "the rust core of this SGLang is not there" in capsys.readouterr().err


class _Printing:
    """A core whose listing is ``text``, written past Python as compiled code does."""

    text = ""

    def pretty_print(self) -> None:
        os.write(1, self.text.encode())


def test_a_listing_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (" [1] 0 full_lock=1 F", "   [6] 4 full_lock=-2 F", "     [5] 2 full_lock=0 F", "")
    monkeypatch.setattr(_Printing, "text", "\n".join(lines))
    assert listed(_Printing()) == [(0, 1, 0, 1), (1, 6, 4, -2), (2, 5, 2, 0)]


@pytest.mark.parametrize("text", ["", "root\n", "[1] 0 full_lock=1 F\n", "  [1] 0 full_lock=1 F\n"])
def test_another_listing_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Printing, "text", text)
    with pytest.raises(NotSglang, match="listing"):
        listed(_Printing())


@pytest.mark.parametrize("flag", ["--host-locks", "--relation"])
def test_what_needs_hidden_locks_is_one_line(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["check", "--subject", f"sglang=={RELEASE}", "--core", "rust", flag, "--time", "1"]
    assert main(argv) == 2
    assert f"{flag} goes with --core python" in capsys.readouterr().err


SEEN = ("36848", "38481")
"""Bugs of 0.5.19 whose traces show on its Rust core. 38138 is a host lock taken anew with another
extent, which such a core does not show."""


@pytest.mark.parametrize("id", [SEEN[0], pytest.param(SEEN[1], marks=pytest.mark.nightly)])
def test_a_bug_of_both_cores_shows_on_the_rust_core(id: str) -> None:
    bug = RELEASE_BUGS[id]
    shows(bug.shows, RUST, bug.trace(), bug.wanted, bug.reach, bug.environment)
    holds(bug.fixed, RUST, bug.trace(), bug.reach, bug.environment)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("version", "core", "holds"),
    [("0.5.20", RUST, False), ("0.5.20", PYTHON, True), ("0.5.21", RUST, True)],
)
def test_a_defect_of_a_rust_core_alone(version: str, core: str, holds: bool) -> None:
    """While a load-back is pending, its unlocked window above the target cannot be evicted."""
    config = CacheConfig(sliding_window=1, write_policy=WRITE_BACK)
    load = (op.Insert((1, 1)), op.Evict(1, 2), op.LoadBack((1, 1)))
    trace = Trace(config, (*load, op.Insert((1,)), op.Evict(swa=1)))
    with start(f"sglang=={version}", core, {}) as running:
        found = replay_on(running, trace)
    assert (found is None) == holds
    if found is not None:
        assert found.slugs == ("eviction-makes-progress",)
        assert found.step == len(trace.operations) - 1


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["0.5.19", "0.5.20", "0.5.21", "0.5.22", "0.5.23"])
@pytest.mark.parametrize("limits", [Limits(write_policy="write_through"), ANY], ids=["wt", "any"])
def test_the_cores_of_a_release_agree(version: str, limits: Limits) -> None:
    """Until 0.5.20 only the Rust core reclaims host windows of data on device (write-back)."""
    if limits == ANY and version in ("0.5.19", "0.5.20"):
        limits = Limits(write_policy="write_through_selective")
    both = cores(version)
    with both.left, both.right:
        for seed in range(60):
            assert both.compare(both.drawn(seed, limits)) is None


@pytest.mark.nightly
@pytest.mark.parametrize("policy", ["write_through", WRITE_BACK])
@pytest.mark.parametrize("seed", range(5))
def test_the_rust_core_holds(policy: str, seed: int, pair: Pair) -> None:
    run = judge(
        pair.right, Plan(600, limits=Limits(write_policy=policy, kv_events=False)), seed=seed
    )
    assert run.found == []
    assert not run.stopped
