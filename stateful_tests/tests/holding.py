"""Traces on a release that have to hold."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess


def outcomes(release: ReleaseProcess, config: CacheConfig, *operations: op.Operation) -> Coverage:
    """What the operations of a trace that holds were answered."""
    coverage = Coverage()
    assert replay_on(release, Trace(config, operations), coverage=coverage) is None
    return coverage
