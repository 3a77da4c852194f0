"""The SGLang subject: its tables name real things, and wrong use is one line.

What needs a release is fetched from the package index; the trace of a bug must show it on the
release that has it and on no other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.impl.torch_cache.subject import TorchSubject
from radixproof.invariants.catalogue import CATALOGUE, STATE
from radixproof.invariants.proofs.beyond import SHOWS
from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.reference import ReferenceModel
from radixproof.model.trace import Trace
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang import judge, process
from radixproof.stateful_tests.sglang.dialect import DIFFERENCES
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.legal.use import made_legal
from radixproof.stateful_tests.sglang.passable import PASSABLE
from radixproof.stateful_tests.sglang.reach import Reach
from radixproof.stateful_tests.sglang.solo import Solo
from radixproof.stateful_tests.tests.between_releases import holds, shows
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.verdict import CRASH, LINKED, RELATION

LINKABLE = ("0.5.18", "0.5.20", "0.5.22", "0.5.23")
BUGS = pytest.mark.parametrize("bug", RELEASE_BUGS.values(), ids=lambda bug: bug.id)


def test_what_is_not_checked_is_in_the_catalogue() -> None:
    assert {slug for d in DIFFERENCES for slug in d.slugs} <= set(CATALOGUE)


@BUGS
def test_the_trace_of_a_bug_is_one_of_its_configuration(bug: ReleaseBug) -> None:
    trace = bug.trace()
    assert trace.operations
    assert trace.config.write_policy == bug.limits.write_policy
    assert set(trace.config.components) == set(bug.limits.components or ())


def test_what_may_be_gone_past_is_a_step_of_the_catalogue() -> None:
    assert all(CATALOGUE[slug].kind != STATE for slug in PASSABLE)


class _Unchecked(TorchSubject):
    """Our cache as if it were a release without a check of its own."""

    traceback = ""

    def check_itself(self) -> str | None:
        return None


def _promoting(config: CacheConfig) -> _Unchecked:
    subject = VARIANTS["M-75"].open(config)
    subject.__class__ = _Unchecked
    assert isinstance(subject, _Unchecked)
    return subject


def test_a_run_goes_past_a_wrong_step_that_is_known_and_no_further() -> None:
    """A split that promotes leaves a good state; a second kind of failure still ends the run."""
    slug, config = "what-is-not-used-keeps-its-place", CacheConfig(host_full_slots=0)
    steps = [op.Insert((1, 1)), op.Insert((1, 1, 1)), op.Insert((1,))]
    strict, lenient = Solo(config, _promoting, ()), Solo(config, _promoting, (), past={slug})
    found = [strict.step(o) for o in steps][-1]
    assert found is not None
    assert found.slugs == (slug,)
    assert [lenient.step(o) for o in steps] == [None] * 3
    assert lenient.gone_past == {slug}
    lenient.subject.snapshot = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    broken = lenient.step(op.Match((1,)))
    assert broken is not None
    assert broken.slugs == (CRASH,)
    assert broken.past == {slug}


def test_a_quota_is_dropped_unless_it_is_asked_for() -> None:
    load, state = op.LoadBack(tokens=(1,), mem_quota=1), ReferenceModel(CacheConfig()).snapshot()
    assert made_legal(state, load, Reach()) == op.LoadBack(tokens=(1,))
    assert made_legal(state, load, Reach(quotas=True)) == load


@pytest.mark.parametrize("subject", ["sglang==0.5.99", "sglang:no/such/tree"])
def test_what_is_no_release_is_one_line(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--subject", subject, "--time", "1"]) == 2
    told = capsys.readouterr()
    assert len(told.err.strip().splitlines()) == 1
    assert subject.removeprefix("sglang").lstrip("=:") in told.err


@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(bug, id=bug.id, marks=() if bug.id == "25065" else pytest.mark.nightly)
        for bug in RELEASE_BUGS.values()
    ],
)
def test_a_bug_is_in_one_release_and_not_in_the_next(bug: ReleaseBug) -> None:
    shows(bug.shows, PYTHON, bug.trace(), bug.wanted, bug.reach, bug.environment, bug.past)
    holds(bug.fixed, PYTHON, bug.trace(), bug.reach, bug.environment)


def test_a_release_holds_where_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """FULL alone under write-through; under write-back this release has 26728."""
    argv = ["check", "--subject", "sglang==0.5.13", "--components", "full", "--seed", "3"]
    argv += ["--policy", "write_through"]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert told.startswith("held: ")
    assert "not checked on this release:" in told


@pytest.mark.parametrize("id", ["25065", "29352"])
def test_a_bug_of_a_release_leaves_the_proved_relation(id: str) -> None:
    """Its last step is no sequence of transitions; on the latest release every step is one."""
    bug = RELEASE_BUGS[id]
    with start(f"sglang=={bug.shows}", PYTHON, bug.environment) as running:
        found = replay_on(running, bug.trace(), bug.reach, relation=True)
    assert found is not None
    assert RELATION in found.slugs
    coverage = Coverage()
    with start("sglang==0.5.23", PYTHON, bug.environment) as running:
        assert replay_on(running, bug.trace(), bug.reach, coverage, relation=True) is None
    assert coverage.links == {LINKED: len(bug.trace().operations)}


@pytest.mark.parametrize(
    ("version", "walks"),
    [("0.5.23", 12), *(pytest.param(v, 60, marks=pytest.mark.nightly) for v in LINKABLE)],
)
def test_every_step_of_a_release_is_in_the_relation_or_beyond_it_by_name(
    version: str, walks: int
) -> None:
    """The relation complains only where the catalogue does, too."""
    with start(f"sglang=={version}", PYTHON, {}) as running:
        options = set(running.about["options"])
        run = judge.judge(running, judge.Plan(walks, relation=True), seed=1)
    assert [
        f.counterexample.slugs for f in run.found if f.counterexample.slugs == (RELATION,)
    ] == []
    links = run.coverage.links
    assert {o for key in links if key != LINKED for o in key.split(", ")} <= options & set(SHOWS)
    assert links[LINKED] > 0.95 * links.total()


DEATHS = {
    "raises": ("raise RuntimeError('planted')", "RuntimeError: planted"),
    "leaves": ("import os; os._exit(3)", "ended with status 3"),
    "segfaults": ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
    "hangs": ("while True: pass", "did not end within"),
}


@pytest.mark.parametrize(("body", "told"), DEATHS.values(), ids=DEATHS)
def test_a_release_that_dies_is_a_verdict_with_its_trace(
    body: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of a release whose eviction does what it should not."""
    monkeypatch.setattr(process, "OPERATION_SECONDS", 3.0)
    root = broken_copy(fetch("0.5.13"), tmp_path, f"    def evict(self, params):\n        {body}\n")
    trace = Trace(CacheConfig(components=(FULL,), host_full_slots=0), (op.Match((1,)), op.Evict(1)))
    with start(f"sglang:{root}", PYTHON, {}) as dying:
        found = replay_on(dying, trace)
        assert found is not None
        assert found.slugs == (CRASH,)
        assert told in found.findings[0].message
        assert found.trace.operations == trace.operations
        fine = Trace(trace.config, trace.operations[:1])
        assert replay_on(dying, fine) is None  # the next one runs in a new process


def test_our_own_fault_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that never went through the release stops the run and accuses nobody."""
    with start("sglang==0.5.13", PYTHON, {}) as running:
        monkeypatch.setattr(judge, "asdict", lambda _: {"no_such_field": 1})
        run = judge.judge(running, judge.Plan(1), seed=1)
    assert run.found == []
    assert "radixproof itself failed" in run.stopped
