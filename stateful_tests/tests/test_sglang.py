"""The SGLang subject: its tables name real things, and wrong use is one line.

What needs a release is fetched from the package index; the trace of a bug must show it on the
release that has it and on no other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model import operations as op
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.sglang.dialect import DIFFERENCES
from radixproof.stateful_tests.sglang.legal import Reach, made_legal

BUGS = pytest.mark.parametrize("bug", RELEASE_BUGS.values(), ids=lambda bug: bug.id)


def test_what_is_not_checked_is_in_the_catalogue() -> None:
    assert {slug for d in DIFFERENCES for slug in d.slugs} <= set(CATALOGUE)


@BUGS
def test_the_trace_of_a_bug_is_one_of_its_configuration(bug: ReleaseBug) -> None:
    trace = bug.trace()
    assert trace.operations
    assert trace.config.write_policy == bug.limits.write_policy
    assert set(trace.config.components) == set(bug.limits.components or ())


def test_a_quota_is_dropped_unless_it_is_asked_for() -> None:
    load = op.LoadBack(tokens=(1,), mem_quota=1)
    assert made_legal(load, Reach()) == op.LoadBack(tokens=(1,))
    assert made_legal(load, Reach(quotas=True)) == load


@pytest.mark.parametrize("subject", ["sglang==0.5.99", "sglang:no/such/tree"])
def test_what_is_no_release_is_one_line(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--subject", subject, "--time", "1"]) == 2
    told = capsys.readouterr()
    assert len(told.err.strip().splitlines()) == 1
    assert subject.removeprefix("sglang").lstrip("=:") in told.err


@pytest.mark.parametrize(("release", "status"), [("0.5.12.post1", 1), ("0.5.13", 0)])
def test_25065_is_in_one_release_and_not_in_the_next(release: str, status: int) -> None:
    trace = Path(RELEASE_BUGS["25065"].path)
    assert main(["replay", str(trace), "--subject", f"sglang=={release}"]) == status
