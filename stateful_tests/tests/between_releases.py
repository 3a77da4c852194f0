"""What a bug of a release must do: show on one release, and be gone on the next."""

from __future__ import annotations

from collections.abc import Mapping

from radixproof.cli.releases import start
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.reach import Reach


def shows(
    version: str,
    core: str,
    trace: Trace,
    wanted: frozenset[str],
    reach: Reach,
    environment: Mapping[str, str],
    past: frozenset[str] = frozenset(),
) -> None:
    """The trace ends in a finding that carries one of the wanted names."""
    with start(f"sglang=={version}", core, environment) as running:
        found = replay_on(running, trace, reach, past=past)
    assert found is not None
    assert wanted & set(found.slugs)


def holds(
    version: str, core: str, trace: Trace, reach: Reach, environment: Mapping[str, str]
) -> None:
    """Every step of the trace runs, none is illegal, and nothing is found."""
    coverage = Coverage()
    with start(f"sglang=={version}", core, environment) as running:
        assert replay_on(running, trace, reach, coverage) is None
    assert coverage.steps == len(trace.operations)
    assert {kind for _, kind in coverage.outcomes} <= {"ok", "refused"}
