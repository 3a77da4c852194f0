"""The machine fires every rule, reaches every kind of outcome, and finds what is wrong."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.operations import OPERATIONS
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.gate import GateReport, run_gate
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.machine import CacheMachine
from radixproof.stateful_tests.profiles import PROFILES, Profile, machine_settings
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.walk import walk

SMALL = Profile("small", rounds=1, examples=15, example_steps=25, walks=40, walk_steps=40)


class TestTorchCache(CacheMachine.TestCase):  # type: ignore[misc, valid-type]
    """The public machine as pytest runs it, with Hypothesis's example database."""

    settings = settings(
        machine_settings(PROFILES["quick"], database=True, shrink=True), max_examples=60
    )


@pytest.fixture(scope="module")
def report() -> GateReport:
    profile = Profile("wide", rounds=6, examples=20, example_steps=30, walks=40, walk_steps=50)
    return run_gate(open_torch, profile, seed=11)


def test_the_torch_cache_is_held(report: GateReport) -> None:
    assert report.counterexample is None


def test_every_rule_fires(report: GateReport) -> None:
    assert report.never == []
    legal = {name for name, kind in report.coverage.outcomes if kind == "ok"}
    assert legal == set(OPERATIONS)


def test_every_kind_of_outcome_occurs(report: GateReport) -> None:
    kinds: Counter[str] = Counter()
    for (_, kind), count in report.coverage.outcomes.items():
        kinds[kind] += count
    assert {"ok", "refused", "E_ARG", "E_PROTO", "E_BUSY"} <= set(kinds)
    illegal = sum(n for kind, n in kinds.items() if kind.startswith("E_"))
    assert 0.01 < illegal / kinds.total() < 0.15


def test_every_refusal_occurs() -> None:
    coverage = Coverage()
    for seed in range(150):
        assert walk(open_torch, seed, coverage=coverage) is None
    refused = {name for name, kind in coverage.outcomes if kind == "refused"}
    assert refused >= {"insert", "load_back", "prefill", "decode"}


@pytest.mark.parametrize("id", ["M-1", "M-8", "M-4"])
def test_the_canary_is_found(id: str) -> None:
    """A gate that finds nothing here finds nothing anywhere."""
    variant = VARIANTS[id]
    report = run_gate(variant.open, PROFILES["quick"], seed=5, kept=False)
    assert report.counterexample is not None
    assert set(report.counterexample.slugs) & set(variant.caught_by)
    assert len(report.counterexample.trace.operations) <= 5


def test_hypothesis_alone_finds_the_canary() -> None:
    profile = Profile("machine", rounds=10, examples=40, example_steps=30, walks=0, walk_steps=0)
    report = run_gate(VARIANTS["M-1"].open, profile, seed=2, limits=Limits(host=True), kept=False)
    assert report.found_by == "machine"


def test_the_same_seed_gives_the_same_run() -> None:
    reports = [run_gate(open_torch, SMALL, seed=8) for _ in range(2)]
    assert reports[0].coverage == reports[1].coverage
    finds = [
        run_gate(VARIANTS["M-2"].open, SMALL, seed=8, kept=False).counterexample for _ in range(2)
    ]
    assert finds[0] is not None
    assert finds[1] is not None
    assert finds[0].trace == finds[1].trace
    assert finds[0].slugs == finds[1].slugs
