"""Counterexamples that share a cause are told as one defect, and none of them is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.cli.releases import judgement_text
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.outcome import ok
from radixproof.model.trace import Trace
from radixproof.stateful_tests.sglang.judge import Found, Judgement
from radixproof.stateful_tests.verdict import CRASH, Counterexample, Finding, grouped


def _found(*said: tuple[str, str]) -> Counterexample:
    findings = tuple(Finding("release", slug, None, message) for slug, message in said)
    trace = Trace(CacheConfig(), (op.Match((1,)),))
    return Counterexample(trace, 0, op.Match((1,)), ok(), None, None, findings)


OWNERS, MAP, HITS = (
    (slug, "told")
    for slug in (
        "device-slots-have-one-owner",
        "map-agrees-with-live-swa-data",
        "hits-at-the-threshold-are-backed-up",
    )
)
HERE, THERE = (
    (CRASH, "AssertionError: no slot (a.py:1, f)"),
    (CRASH, "AssertionError: no slot (b.py)"),
)
OTHER = (CRASH, "AssertionError: node 12 is pinned (a.py:9, g)")
SEEN = [_found(*each) for each in ((OWNERS,), (HITS,), (HERE,), (OWNERS, MAP), (THERE,), (OTHER,))]


def test_counterexamples_with_a_cause_in_common_are_one_group() -> None:
    assert grouped(SEEN) == [[0, 3], [1], [2, 4], [5]]
    assert grouped([_found(OWNERS), _found(MAP), _found(MAP, OWNERS)]) == [[0, 1, 2]]
    assert grouped([_found(OWNERS, MAP), _found(MAP, HITS)]) == [[0], [1]]
    assert grouped([]) == []


def test_a_report_tells_each_defect_once_and_names_every_sight_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Judgement(1, found=[Found(each, 7, 1, 1, 0.5) for each in SEEN], failing_walks=6)
    told = judgement_text(run, "sglang==0", 1.0)
    assert told.count("COUNTEREXAMPLE") == 4
    assert told.count("also after match: ") == 2
    assert "also after match: device-slots-have-one-owner, map-agrees" in told
    assert "4 of 4: found after 1 walks" in told
    assert "4 kinds of counterexample in 6 walks" in told
