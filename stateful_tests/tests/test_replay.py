"""Replay is exact, and says no to traces that are no legal use."""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.corpus import corpus, load, save
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.replay import IllegalTrace, replay
from radixproof.stateful_tests.shrink import cost, shrink
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.walk import walk

STRADDLE = Trace(
    CacheConfig(sliding_window=1),
    (
        op.Insert((1, 2), swa_evicted=1),
        op.Execute(op.WRITE),
        op.Execute(op.WRITE),
        op.Observe(op.WRITE),
        op.Evict(2),
    ),
)


@pytest.mark.parametrize("path", corpus(), ids=lambda p: p.stem)
def test_the_corpus_holds(path: Path, open_subject: OpenSubject) -> None:
    assert replay(load(path), open_subject) is None


def test_the_corpus_is_not_empty() -> None:
    assert corpus()


def test_a_replay_is_exact() -> None:
    coverages = [Coverage(), Coverage()]
    for coverage in coverages:
        assert replay(STRADDLE, open_torch, coverage=coverage) is None
    assert coverages[0] == coverages[1]
    assert coverages[0].steps == 5


def test_the_seed_trace_breaks_the_variant() -> None:
    found = replay(STRADDLE, VARIANTS["M-1"].open)
    assert found is not None
    assert found.step == 0
    assert "hits-at-the-threshold-are-backed-up" in found.slugs


def test_illegal_order_is_named() -> None:
    trace = Trace(CacheConfig(), (op.Match((1,)), op.Unlock("a")))
    with pytest.raises(IllegalTrace, match=r"operation 2 \(unlock\)"):
        replay(trace, open_torch, allow_illegal=False)
    assert replay(trace, open_torch) is None, "refused rightly"


def test_traces_survive_the_file(tmp_path: Path) -> None:
    path = save(STRADDLE, tmp_path, "straddle")
    assert load(path) == STRADDLE
    assert save(STRADDLE, tmp_path, "straddle") == path
    assert loads(dumps(STRADDLE)) == STRADDLE


@pytest.mark.parametrize("id", ["M-1", "M-4", "M-8", "M-29"])
def test_shrinking_keeps_the_complaint_and_shortens(id: str) -> None:
    variant = VARIANTS[id]
    found = next(f for seed in range(2000) if (f := walk(variant.open, seed)) is not None)
    shrunk = shrink(found, variant.open)
    assert set(shrunk.slugs) & set(found.slugs)
    assert cost(shrunk.trace) <= cost(found.trace)
    assert len(shrunk.trace.operations) <= 8
    again = replay(shrunk.trace, variant.open)
    assert again is not None
    assert again.slugs == shrunk.slugs
    assert shrink(found, variant.open).trace == shrunk.trace, "deterministic"
