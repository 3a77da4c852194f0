"""Exported tests fail on the release that has the bug, pass on the one that does not, and need
nothing of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.impl.sglang.wheels import fetch, locate
from radixproof.model import operations as op
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.bugs.open import OPEN, OpenDefect
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.export.run import BROKEN, FAILED, run_on
from radixproof.stateful_tests.export.unittest_file import unittest_file
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.tests.exported import ONE_TIER, as_if_wrong, assert_stands_alone
from radixproof.stateful_tests.verdict import CRASH

IN_CI = ("25065", "36848", "27038", "34870")
"""One of FULL+SWA, of requests, of states and of bigram keys."""
WITHOUT_A_TEST = {
    "24380": "mamba_strategy extra_buffer",
    "27391": "a scheduler's budget",
    "load-of-a-refused-candidate": "a scheduler's budget",
    "27489": "several ranks",
    "27770": "a decode server",
    "29792": "mamba_strategy extra_buffer",
    "loads-not-agreed": "several ranks",
    "38204": "a storage tier",
    "38429": "a storage tier",
    "39318": "a storage tier",
    "store-that-raises": "a storage tier",
    "stored-namespaces": "a storage tier",
    "overwritten-checkpoint": "mamba_strategy extra_buffer",
    "prefetch-beside-its-anchor": "a storage tier",
    "prefetched-before-its-parent": "a storage tier",
    "window-that-never-arrived": "a decode server",
}
"""Bug or open defect -> why it cannot be exported."""
BY_BUG = pytest.mark.parametrize(
    "bug",
    [
        pytest.param(bug, id=bug.id, marks=() if bug.id in IN_CI else pytest.mark.nightly)
        for bug in RELEASE_BUGS.values()
        if bug.id not in WITHOUT_A_TEST
    ],
)


@BY_BUG
def test_an_exported_test_fails_where_the_bug_is_and_passes_where_it_is_not(
    bug: ReleaseBug, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test_exported.py"
    argv = ["export", bug.id, "--as", "sglang-unittest", "--out", str(file)]
    assert main([*argv, "--passes-on", f"sglang=={bug.fixed}"]) == 0
    failed, passed = capsys.readouterr().err.splitlines()
    assert failed.startswith(f"it fails on sglang=={bug.shows}")
    assert any(slug in failed for slug in bug.wanted)
    assert passed == f"it passes on sglang=={bug.fixed}"
    assert_stands_alone(file.read_text(encoding="utf-8"))


@pytest.mark.nightly
@pytest.mark.parametrize(("id", "why"), WITHOUT_A_TEST.items())
def test_a_bug_without_a_test_says_why(
    id: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", id, "--as", "sglang-unittest"]) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert why in told


@pytest.mark.nightly
@pytest.mark.parametrize(
    "defect",
    [defect for defect in OPEN.values() if defect.id not in WITHOUT_A_TEST],
    ids=lambda defect: defect.id,
)
def test_an_open_defect_fails_on_the_latest_release(
    defect: OpenDefect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test_exported.py"
    argv = ["export", defect.id, "--as", "sglang-unittest", "--out", str(file)]
    passes_on = ["--passes-on", f"sglang=={defect.before}"] if defect.before else []
    assert main([*argv, *passes_on]) == 0
    failed = capsys.readouterr().err.splitlines()[0]
    assert failed.startswith(f"it fails on sglang=={defect.latest}")
    assert any(slug in failed for slug in defect.wanted)
    assert_stands_alone(file.read_text(encoding="utf-8"))


ENDS_ITS_PROCESS = """
    def match_prefix(self, params):
        import os
        os.kill(os.getpid(), 9)
"""


@pytest.mark.nightly
def test_a_trace_that_kills_its_process_is_run_in_one_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken_copy(fetch("0.5.13"), tmp_path / "broken", ENDS_ITS_PROCESS)
    trace, file = tmp_path / "trace.json", tmp_path / "test_exported.py"
    operations = (op.Insert((1,)), op.Match((1,)))
    trace.write_text(dumps(Trace(ONE_TIER, operations)), encoding="utf-8")
    argv = ["export", str(trace), "--as", "sglang-unittest", "--subject", f"sglang:{root}"]
    assert main([*argv, "--passes-on", "sglang==0.5.13", "--out", str(file)]) == 0
    assert "it passes on sglang==0.5.13" in capsys.readouterr().err
    assert_stands_alone(file.read_text(encoding="utf-8"))


def test_a_trace_that_raises_in_its_own_process_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "test_exported.py"
    found = as_if_wrong(Trace(ONE_TIER, (op.Lock("a", (1,)),)), CRASH)
    file.write_text(unittest_file(replace(found, outcome=None), "a release"), encoding="utf-8")
    ran = run_on(locate("sglang==0.5.13"), file)
    assert ran.status == BROKEN
    assert "no node ends at [1]" in ran.told


BODY = "import unittest\n\nclass Test(unittest.TestCase):\n    def test_it(self):\n        {}\n"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("import no_such_module", BROKEN),
        (BODY.format("1 / 0"), BROKEN),
        (BODY.format("self.fail()"), FAILED),
    ],
)
def test_only_an_assertion_that_fails_counts_as_failing(
    text: str, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(text, encoding="utf-8")
    assert run_on(locate("sglang==0.5.13"), file).status == status


@pytest.mark.parametrize(
    ("operations", "more", "told"),
    [
        ((op.Insert((1,)),), ["--subject", "sglang==0.5.13"], "holds on sglang==0.5.13"),
        ((op.Insert((1,)),), [], "--subject sglang==VERSION"),
        ((op.Insert((1,)),), ["--subject", "torch"], "--subject sglang==VERSION"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    operations: tuple[op.Operation, ...],
    more: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(dumps(Trace(ONE_TIER, operations)), encoding="utf-8")
    assert main(["export", str(trace), "--as", "sglang-unittest", *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_test_that_should_pass_and_fails_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, tree = tmp_path / "test_exported.py", fetch("0.5.12.post1")
    argv = ["export", "24585", "--as", "sglang-unittest", "--out", str(file)]
    assert main([*argv, "--passes-on", f"sglang:{tree}"]) == 1
    assert "it fails on sglang:" in capsys.readouterr().err
