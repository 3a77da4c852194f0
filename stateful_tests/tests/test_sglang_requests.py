"""Requests of a release that are refused, wait, or are retracted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.options import STRIPS_THINKING
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import broken_copy

PROMPT = (1, 2, 3, 4, 5)
RETRACTED = (
    op.Admit("r", PROMPT),
    op.Prefill("r", 3),
    op.Prefill("r", 2),
    op.Decode("r", (6, 7, 8)),
    op.Retract("r"),
    op.Prepare("s", PROMPT),
    op.Proceed("r"),
    op.Prefill("r", 3),
    op.Retract("r"),
    op.Proceed("r"),
    op.Prefill("r", 1),
    op.Decode("r", (9,)),
    op.Finish("r"),
    op.Abort("s"),
    op.Match((*PROMPT, 6, 7, 8, 9, 1)),
)


def without_host(*components: str) -> CacheConfig:
    return CacheConfig(components=components, host_full_slots=0, host_swa_slots=0)


@pytest.fixture(scope="module")
def release() -> Iterator[ReleaseProcess]:
    with start("sglang==0.5.13", PYTHON, {}) as running:
        yield running


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_retracted_request_goes_on_where_it_was(
    release: ReleaseProcess, components: tuple[str, ...]
) -> None:
    """Prompt and output become the prompt; what is cached of it by then is found again."""
    coverage = Coverage()
    trace = Trace(without_host(*components), RETRACTED)
    assert replay_on(release, trace, coverage=coverage) is None
    assert set(coverage.outcomes) == {(name, "ok") for name, _ in coverage.outcomes}
    assert coverage.steps == len(RETRACTED)


def test_a_request_without_a_batch_is_not_retracted(release: ReleaseProcess) -> None:
    coverage = Coverage()
    trace = Trace(CacheConfig(components=(FULL,)), (op.Admit("r", PROMPT), op.Retract("r")))
    assert replay_on(release, trace, coverage=coverage) is None
    assert coverage.outcomes["retract", "E_PROTO"] == 1


def test_a_request_that_thinks_leaves_its_prompt() -> None:
    """With the server argument set; what comes of it after a retraction is docs/findings."""
    operations = (
        op.Admit("r", PROMPT),
        op.Prefill("r", 5),
        op.Decode("r", (6, 7, 8)),
        op.Finish("r"),
        op.Evict(full=5),
        op.Reset(),
    )
    coverage = Coverage()
    trace = Trace(without_host(FULL), operations)
    with start("sglang==0.5.23", PYTHON, {"strip_thinking_cache": "1"}) as running:
        assert STRIPS_THINKING in running.about["options"]
        assert replay_on(running, trace, coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_disabled_cache_keeps_nothing(components: tuple[str, ...]) -> None:
    operations = (
        op.Admit("r", PROMPT),
        op.Prefill("r", 3),
        op.Prefill("r", 2),
        op.Decode("r", (6, 7, 8)),
        op.Retract("r"),
        op.Proceed("r"),
        op.Prefill("r", 8),
        op.Match((1, 2, 3)),
        op.Finish("r"),
        op.Reset(),
    )
    coverage = Coverage()
    trace = Trace(replace(without_host(*components), disable=True), operations)
    with start("sglang==0.5.23", PYTHON, {}) as running:
        assert replay_on(running, trace, coverage=coverage) is None
    assert coverage.steps == len(operations)
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


def test_a_server_of_an_older_release_has_no_disabled_cache(release: ReleaseProcess) -> None:
    trace = Trace(replace(without_host(FULL), disable=True), (op.Match((1,)),))
    with pytest.raises(ConfigError, match="another cache"):
        replay_on(release, trace)


FORGETS_THE_LOCK = """
    def cache_finished_req(self, req, is_insert=True, **more):
        retracted = not is_insert and not req.finished()
        node = req.last_node
        super().cache_finished_req(req, is_insert=is_insert, **more)
        if retracted:
            self.inc_lock_ref(node)
"""
FREES_THE_PREFIX = """
    def cache_finished_req(self, req, is_insert=True, **more):
        if not is_insert and not req.finished():
            req.cache_protected_len = 0
        super().cache_finished_req(req, is_insert=is_insert, **more)
"""
PINS_WHAT_IT_REFUSES = """
    def match_prefix(self, params):
        found = super().match_prefix(params)
        self.inc_lock_ref(found.last_device_node)
        return found
"""
WITH_A_PREFIX = (
    op.Insert((1, 2, 3, 4)),
    op.Admit("r", PROMPT),
    op.Prefill("r", 1),
    op.Retract("r"),
)


@pytest.mark.parametrize(
    ("body", "operations", "caught"),
    [
        (FORGETS_THE_LOCK, WITH_A_PREFIX, "nothing-is-held-when-idle"),
        (FREES_THE_PREFIX, WITH_A_PREFIX, "device-slots-have-one-owner"),
        (
            PINS_WHAT_IT_REFUSES,
            (op.Insert(PROMPT), op.Prepare("r", PROMPT)),
            "preparing-only-locks",
        ),
    ],
    ids=["forgets the lock", "frees the prefix", "pins what it refuses"],
)
def test_a_retraction_or_a_refusal_that_leaves_something_is_caught(
    body: str, operations: tuple[op.Operation, ...], caught: str, tmp_path: Path
) -> None:
    """In copies of a release that do what retraction and refusal must not."""
    trace = Trace(without_host(FULL), operations)
    root = broken_copy(fetch("0.5.13"), tmp_path, body)
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = replay_on(broken, trace)
    assert found is not None
    assert caught in found.slugs
    assert found.step == len(operations) - 1
