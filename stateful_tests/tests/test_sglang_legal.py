"""What a release may do otherwise than the specification is no counterexample on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON
from radixproof.invariants.steps.compare import as_told
from radixproof.invariants.view import View
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, WRITE_BACK, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.options import ONE_HOST_HIT
from radixproof.model.reference import ReferenceModel
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.reach import Reach

BOTH = (FULL, SWA)
WRITTEN = (op.Execute(op.WRITE), op.Observe(op.WRITE))

LOCKED_HOST_DATA = Trace(
    CacheConfig(BOTH, full_slots=6, swa_slots=3, host_full_slots=4, host_swa_slots=2),
    (
        op.Insert((2, 2)),
        *WRITTEN,
        op.HostLock("a", (2, 2)),
        op.Evict(swa=1),
        op.EvictHost(1, SWA),
        op.Insert((1,)),  # its backup is refused: no host SWA can be reclaimed
        op.HostUnlock("a"),
        op.EvictHost(1, SWA),
    ),
)
"""A node that is demoted under a host lock stays in its host list, whose walks skip it."""

COPY_OF_AN_ANCESTOR = Trace(
    CacheConfig(
        BOTH,
        full_slots=12,
        swa_slots=12,
        host_full_slots=13,
        host_swa_slots=13,
        sliding_window=1,
        write_policy=WRITE_BACK,
    ),
    (
        op.Insert((1, 1, 1), namespace="x"),
        op.Insert((1, 1), namespace="x"),
        op.Insert((2, 2, 2, 2, 2), namespace="x"),
        op.Evict(swa=2),
        op.Insert((2, 2, 2, 1, 1, 1), namespace="x"),
        op.Evict(6),
        op.Insert((2,), namespace="x"),
        op.LoadBack((2, 2, 2, 2, 2), namespace="x"),
        op.LoadBack((1, 1, 1), namespace="x"),
        op.Insert((1, 2, 1), namespace="x"),
        op.Insert((1,)),
        op.Evict(2),
        op.LoadBack((1, 2, 1), namespace="x"),
        op.LoadBack((2, 2, 2, 1, 1, 1), namespace="x"),
    ),
)
"""A refused load-back under write-back reclaims the host copy of what is on the device."""


SPLIT_AFTER_ITS_BACKUP = Trace(
    CacheConfig(
        (FULL,), page_size=4, full_slots=64, swa_slots=0, host_full_slots=20, host_swa_slots=0
    ),
    (
        op.Admit("r1", (2,) * 16),
        op.Admit("r2", (1, 2, 1, 2, 1)),
        op.Prefill("r1", 16),
        op.Prefill("r2", 5),
        op.Decode("r2", (2, 2, 2)),
        op.Execute(op.WRITE),
        *WRITTEN,
        op.Retract("r2"),
        op.Evict(full=1),
        op.EvictHost(1),
        op.Proceed("r2"),
        op.Prefill("r2", 8),  # the host has room for its prompt, and not for the whole leaf
    ),
)
"""A leaf is split where its prompt ends after its backup was refused as a whole."""


@pytest.mark.parametrize("trace", [LOCKED_HOST_DATA, COPY_OF_AN_ANCESTOR, SPLIT_AFTER_ITS_BACKUP])
def test_a_legal_difference_is_no_counterexample(trace: Trace) -> None:
    coverage = Coverage()
    with start("sglang==0.5.23", PYTHON, {}) as running:
        assert replay_on(running, trace, Reach(host_locks=True), coverage) is None
    assert coverage.steps == len(trace.operations)
    assert not any(kind.startswith("error") for _, kind in coverage.outcomes), coverage.outcomes


def test_a_window_slides_before_the_step_that_computes_its_last_token() -> None:
    """With the first step of decoding none slides; with the second the token before it stays."""
    config = CacheConfig(BOTH, sliding_window=1, bigram=True)
    slid = (op.Decode("r", (1,)), op.SlideWindow("r"), op.Finish("r"))
    begun = (op.Admit("r", (1, 1)), op.Prefill("r", 2))
    for first, kind in (((), "E_ARG"), ((op.Decode("r", (1,)),), "ok")):
        coverage = Coverage()
        with start("sglang==0.5.22", PYTHON, {}) as running:
            assert (
                replay_on(running, Trace(config, (*begun, *first, *slid)), coverage=coverage)
                is None
            )
        assert [k for o, k in coverage.outcomes if o == "slide_window"] == [kind]


def test_hits_of_an_old_release_are_one_number_and_its_evictions_go_by_recency() -> None:
    """0.5.12: a state on the host is one hit of the only count; a strategy is refused."""
    config = CacheConfig(
        (FULL, MAMBA),
        full_slots=12,
        swa_slots=0,
        mamba_slots=9,
        host_full_slots=25,
        host_swa_slots=0,
        host_mamba_slots=19,
    )
    key = (1, 1)
    steps = (op.Insert(key), *WRITTEN, op.Insert((*key, 1)), op.Evict(mamba=1), op.Match(key))
    with start("sglang==0.5.12.post1", PYTHON, {}) as running:
        assert replay_on(running, Trace(config, steps)) is None
        with pytest.raises(ConfigError, match="recency alone"):
            replay_on(running, Trace(replace(config, eviction_policy="mru"), ()))
    view = View(replace(ReferenceModel(config).snapshot(), options=frozenset({ONE_HOST_HIT})))
    told = {"host_hit": 0, "swa_host_hit": 0, "mamba_host_hit": 1}
    assert as_told(view, told) == {"host_hit": 1, "swa_host_hit": 0, "mamba_host_hit": 0}
