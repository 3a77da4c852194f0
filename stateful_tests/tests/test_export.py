"""Exported tests fail on the release that has the bug, pass on the one that does not, and need
nothing of ours."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.impl.sglang.wheels import fetch, locate
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.outcome import ok
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.export import assemble
from radixproof.stateful_tests.export.calls import Calls, NotExportable
from radixproof.stateful_tests.export.run import BROKEN, FAILED, PASSED, run_on
from radixproof.stateful_tests.export.unittest_file import unittest_file
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK, Counterexample, Finding

IN_CI = ("25065", "27072", "24585", "36848")
"""One of FULL+SWA, of FULL, of write-back and of requests."""
WITHOUT_A_TEST = {
    "27108": "no assertion could follow",
    "27489": "ranks has no fixture",
    "34870": "bigram has no fixture",
    "loads-not-agreed": "ranks has no fixture",
}
"""Bug -> why no unit test of the cache can show it."""
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
def test_a_bug_without_a_unit_test_says_why(
    id: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", id, "--as", "sglang-unittest", "--out", str(tmp_path / "test_it.py")]
    assert main(argv) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert why in told[0]


def assert_stands_alone(text: str) -> None:
    """It imports the standard library, torch and SGLang, and says what it is about."""
    tree = ast.parse(text)
    tops = {name.split(".")[0] for name in imported(tree)}
    assert tops - set(sys.stdlib_module_names) == {"torch", "sglang"}
    assert "operations" in text
    assert any(slug in (ast.get_docstring(tree) or "") for slug in (*CATALOGUE, CRASH))


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


EVERY_CALL = (
    op.Insert((1, 1, 1, 1), namespace="x", priority=1),
    op.Insert((1, 1, 2, 2, 3)),
    op.Match((1, 1, 2)),
    op.Lock("a", (1, 1)),
    op.Execute(op.WRITE),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE, limit=0),
    op.Observe(op.WRITE, limit=1),
    op.Observe(op.WRITE),
    op.Unlock("a"),
    op.Admit("r", (1, 1, 2, 2, 1, 1, 1)),
    op.Prefill("r", 2),
    op.Prefill("r", 1),
    op.Decode("r", (2, 2, 2)),
    op.SlideWindow("r"),
    op.Prepare("s", (2, 2, 2)),
    op.Proceed("s", load_back=False),
    op.Prefill("s", 3),
    op.Retract("s"),
    op.Proceed("s"),
    op.Abort("s"),
    op.Finish("r"),
    op.Execute(op.WRITE),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE),
    op.Evict(full=12, swa=2),
    op.Match((1, 1, 2, 2, 1, 1)),
    op.LoadBack((1, 1, 1, 1), namespace="x"),
    op.Admit("t", (1, 1, 2, 2, 1)),
    op.StartLoading(),
    op.Execute(op.LOAD),
    op.Observe(op.LOAD),
    op.Abort("t"),
    op.Evict(full=4),
    op.EvictHost(2),
)
"""A use of everything that can be exported but resets and host locks, without a defect."""
SOUND = (
    "device-slots-have-one-owner",
    "host-slots-have-one-owner",
    "map-agrees-with-live-swa-data",
    "tombstones-are-unmapped",
    "free-slots-are-unmapped",
    "sizes-add-up",
    "device-data-is-prefix-closed",
    "backup-is-prefix-closed",
    "device-slots-hold-their-prefix",
    "host-slots-hold-their-prefix",
    "full-locks-are-upward-closed",
    "device-leaf-set-is-exact",
    "host-leaf-set-is-exact",
    "requests-read-their-own-prefix",
    OWN_CHECK,
)
EVENTS = (
    op.Insert((1, 1, 2)),
    op.Insert((1, 2, 2)),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE),
    op.Evict(full=2),
    op.Insert((2,)),
)
"""Blocks that are stored on both media, split, removed, and on their way."""


def as_if_wrong(trace: Trace, *slugs: str) -> Counterexample:
    findings = tuple(Finding("nobody", slug, None, slug) for slug in slugs)
    last = len(trace.operations) - 1
    return Counterexample(trace, last, trace.operations[-1], ok(), None, None, findings)


@pytest.mark.parametrize("version", [pytest.param("0.5.15", marks=pytest.mark.nightly), "0.5.23"])
def test_every_call_and_many_assertions_pass_where_nothing_is_wrong(
    version: str, tmp_path: Path
) -> None:
    config = CacheConfig((FULL, SWA), 2, 3, 24, 24, 50, 50, kv_events=True)
    found = as_if_wrong(Trace(config, EVERY_CALL), *SOUND)
    file = tmp_path / "test_sound.py"
    file.write_text(unittest_file(found, "a release"), encoding="utf-8")
    ran = run_on(locate(f"sglang=={version}"), file)
    assert ran.status == PASSED, ran.told


def test_every_operation_is_a_call_or_named_as_none() -> None:
    written = {name for name in op.OPERATIONS if hasattr(Calls, f"_{name}")}
    assert set(op.OPERATIONS) - written == {"fail_allocation"}


def test_events_pass_where_nothing_is_wrong(tmp_path: Path) -> None:
    trace = Trace(CacheConfig((FULL,), kv_events=True), EVENTS)
    file = tmp_path / "test_events.py"
    found = as_if_wrong(trace, "events-tell-what-is-resident")
    file.write_text(unittest_file(found, "a release"), encoding="utf-8")
    ran = run_on(locate("sglang==0.5.23"), file)
    assert ran.status == PASSED, ran.told


def test_assertions_are_named_after_invariants() -> None:
    checks = {m.name.removeprefix(".") for m in assemble.load().members("Checks")}
    helpers = {"named", "stays", "holds", "survives", "loaded"}
    assert {c.replace("_", "-") for c in checks - helpers} <= set(CATALOGUE)


def test_a_test_is_made_of_what_it_needs() -> None:
    trace = Trace(CacheConfig((FULL,), host_full_slots=0), (op.Insert((1,)), op.Evict(1)))
    text = unittest_file(as_if_wrong(trace, "sizes-add-up"), "a release")
    assert_stands_alone(text)
    for absent in ("class Request", "start_hicache", "SWAKVPool", "PagedToken", "run_copies"):
        assert absent not in text


@pytest.mark.parametrize("operation", [op.FailAllocation("full")])
def test_what_a_unit_test_cannot_do_is_named(operation: op.Operation) -> None:
    with pytest.raises(NotExportable, match=f"operation 3, {op.NAMES[type(operation)]}"):
        Calls().line(3, operation)


def test_a_configuration_without_a_fixture_is_named() -> None:
    trace = Trace(CacheConfig(bigram=True), (op.Match((1, 1)),))
    with pytest.raises(NotExportable, match="bigram"):
        unittest_file(as_if_wrong(trace, "sizes-add-up"), "a release")


def test_an_invariant_without_an_assertion_is_named() -> None:
    trace = Trace(CacheConfig(), (op.Match((1,)),))
    with pytest.raises(NotExportable, match="decoding-appends"):
        unittest_file(as_if_wrong(trace, "decoding-appends"), "a release")


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
    config = CacheConfig((FULL,), host_full_slots=0)
    trace.write_text(dumps(Trace(config, operations)), encoding="utf-8")
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
