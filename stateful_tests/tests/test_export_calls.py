"""Every call of an exported test does what the operation does, and assertions hold after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, locate
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.trace import Trace
from radixproof.stateful_tests.export import assemble
from radixproof.stateful_tests.export.calls import Calls, NotExportable
from radixproof.stateful_tests.export.run import PASSED, run_on
from radixproof.stateful_tests.export.unittest_file import asserted, unittest_file
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.tests.exported import as_if_wrong, assert_stands_alone
from radixproof.stateful_tests.verdict import OWN_CHECK

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


STATES = (
    op.Insert((1, 1)),
    op.Insert((1, 1, 1, 2)),
    op.Match((1, 1, 1)),
    op.Prepare("q", (1, 1, 1, 2, 1)),
    op.Abort("q"),
    op.Admit("r", (1, 1, 2, 2)),
    op.Prefill("r", 1),
    op.Prefill("r", 1),
    op.Decode("r", (1, 2)),
    op.Retract("r"),
    op.Proceed("r"),
    op.Prefill("r", 2),
    op.Finish("r"),
    *(op.Execute(op.WRITE),) * 5,
    op.Observe(op.WRITE),
    op.Evict(full=2, mamba=2),
    op.Admit("s", (1, 1, 1, 2, 2)),
    op.Prefill("s", 1),
    op.Observe(op.LOAD),
    op.Abort("s"),
    op.Evict(full=4),
    op.EvictHost(1, component=MAMBA),
)
"""A use of all that is different with recurrent states."""
OF_STATES = (
    *("device-slots-have-one-owner", "host-slots-have-one-owner", "sizes-add-up"),
    *("states-need-full-data", "mamba-list-is-exact", "state-locks-never-exceed-window-locks"),
    *("device-slots-hold-their-prefix", "host-slots-hold-their-prefix", OWN_CHECK),
)
HYBRID = CacheConfig(
    (FULL, MAMBA),
    full_slots=16,
    swa_slots=0,
    host_full_slots=33,
    host_swa_slots=0,
    mamba_slots=9,
    host_mamba_slots=19,
)
HYBRID_WINDOWS = replace(
    HYBRID,
    components=(FULL, SWA, MAMBA),
    sliding_window=2,
    swa_slots=16,
    host_swa_slots=33,
)
BIGRAM = (
    op.Insert((1, 2, 3, 4, 5, 6)),
    op.Match((1, 2, 3, 9, 9)),
    op.Lock("a", (1, 2, 3)),
    op.Admit("r", (1, 2, 3, 9, 9, 9, 9)),
    op.Prefill("r", 2),
    op.Prefill("r", 3),
    op.Decode("r", (7,)),
    op.Decode("r", (7, 7, 7), ahead=2),
    op.Unlock("a"),
    op.Match((1, 2, 3, 9, 9, 9, 9, 7, 7, 7, 7, 7)),
)
OF_BIGRAM = (
    *("device-slots-have-one-owner", "device-slots-hold-their-prefix", "sizes-add-up"),
    *("requests-read-their-own-prefix", "map-agrees-with-live-swa-data", OWN_CHECK),
)


@pytest.mark.parametrize(
    ("trace", "slugs"),
    [
        pytest.param(Trace(HYBRID, STATES), OF_STATES, id="states"),
        pytest.param(
            Trace(HYBRID_WINDOWS, STATES), OF_STATES, id="three", marks=pytest.mark.nightly
        ),
        pytest.param(
            Trace(CacheConfig((FULL, SWA), 2, 3, 32, 32, 0, 0, bigram=True), BIGRAM),
            OF_BIGRAM,
            id="bigram",
        ),
    ],
)
def test_states_and_pairs_pass_where_nothing_is_wrong(
    trace: Trace, slugs: tuple[str, ...], tmp_path: Path
) -> None:
    """The trace is legal, holds, and so do the assertions at its end."""
    coverage = Coverage()
    with start("sglang==0.5.23", PYTHON, {}) as process:
        assert replay_on(process, trace, coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}
    file = tmp_path / "test_sound.py"
    file.write_text(unittest_file(as_if_wrong(trace, *slugs), "a release"), encoding="utf-8")
    ran = run_on(locate("sglang==0.5.23"), file)
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
    checks = {m.name.removeprefix(".") for m in assemble.load().checks}
    helpers = {"named", "listed", "stays", "holds", "survives", "loaded", "same_slots", "is_cached"}
    helpers |= {"goes_on_from_its_own_state", "listed_on_host"}
    assert {c.replace("_", "-") for c in checks - helpers} == asserted()


def test_invariants_are_listed_with_and_without_an_assertion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "--list"]) == 0
    wanted = [f"{'+' if slug in asserted() else '-'} {slug}" for slug in CATALOGUE]
    assert capsys.readouterr().out.splitlines() == wanted


def test_a_test_is_made_of_what_it_needs() -> None:
    trace = Trace(CacheConfig((FULL,), host_full_slots=0), (op.Insert((1,)), op.Evict(1)))
    text = unittest_file(as_if_wrong(trace, "sizes-add-up"), "a release")
    assert_stands_alone(text)
    for absent in (
        "class Request",
        "WithState",
        "start_hicache",
        "SWAKVPool",
        "PagedToken",
        "run_copies",
    ):
        assert absent not in text


@pytest.mark.parametrize("operation", [op.FailAllocation("full")])
def test_what_a_unit_test_cannot_do_is_named(operation: op.Operation) -> None:
    with pytest.raises(NotExportable, match=f"operation 3, {op.NAMES[type(operation)]}"):
        Calls().line(3, operation)


def test_an_invariant_without_an_assertion_is_named() -> None:
    trace = Trace(CacheConfig(), (op.Match((1,)),))
    with pytest.raises(NotExportable, match="decoding-appends"):
        unittest_file(as_if_wrong(trace, "decoding-appends"), "a release")
