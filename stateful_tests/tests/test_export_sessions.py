"""Exported tests of sessions: what a turn does there is what it does here."""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, locate
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.trace import Trace
from radixproof.stateful_tests.export.calls import Calls, NotExportable
from radixproof.stateful_tests.export.run import PASSED, run_on
from radixproof.stateful_tests.export.unittest_file import unittest_file
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.tests.exported import as_if_wrong
from radixproof.stateful_tests.verdict import OWN_CHECK

EVERY_CALL = (
    op.OpenSession("s"),
    op.Turn("s", "r1", (1, 1, 2, 2)),
    op.Prefill("r1", 2),
    op.Prefill("r1", 2),
    op.Decode("r1", (3, 3), ahead=1),
    op.OpenSession("t"),
    op.Admit("p", (1, 1, 2, 4, 4)),
    op.Prefill("p", 1),
    op.Finish("r1"),
    op.Turn("s", "r2", (5,), waits=True),
    op.Turn("s", "r3", (6,)),
    op.Turn("t", "r4", (1, 1), namespace="x", priority=1),
    op.Prefill("r4", 2),
    op.Proceed("r3"),
    op.Prefill("r3", 1),
    op.Finish("r3"),
    op.Proceed("r2"),
    op.Prefill("r2", 1),
    op.Decode("r2", (7,)),
    op.Retract("r2"),
    op.Proceed("r2"),
    op.Abort("r4"),
    op.Turn("t", "r5", (2, 2, 2)),
    op.Prefill("r5", 3),
    op.CloseSession("t"),
    op.Finish("r5"),
    op.CloseSession("t"),
    op.Prefill("r2", 1),
    op.OpenSession("u"),
    op.Turn("u", "r6", (1, 1, 2, 2, 5)),
    op.Prefill("r6", 1),
    op.Finish("r6"),
)
"""Turns that are cached, go on, wait, are not accepted, and aborted; sessions that close."""
SOUND = (
    *("device-slots-have-one-owner", "device-slots-hold-their-prefix", "sizes-add-up"),
    *("lock-counts-are-sums-of-receipts", "a-running-request-holds-its-prefix"),
    *("requests-read-their-own-prefix", "sessions-keep-the-kv-of-their-tokens", OWN_CHECK),
)


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids=len)
@pytest.mark.parametrize(
    "version",
    [
        *(pytest.param(v, marks=pytest.mark.nightly) for v in ("0.5.12.post1", "0.5.19")),
        "0.5.23",
    ],
)
def test_every_call_passes_where_nothing_is_wrong(
    version: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    """The trace is legal, holds, and so do the assertions at its end."""
    has_swa = SWA in components
    config = CacheConfig(
        components, 1, 4, 24, 24 * has_swa, host_full_slots=0, host_swa_slots=0, sessions=True
    )
    trace, coverage = Trace(config, EVERY_CALL), Coverage()
    with start(f"sglang=={version}", PYTHON, {}) as process:
        assert replay_on(process, trace, coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}
    slugs = (*SOUND, "sessions-keep-their-window") if has_swa else SOUND
    file = tmp_path / "test_sound.py"
    file.write_text(unittest_file(as_if_wrong(trace, *slugs), "a release"), encoding="utf-8")
    ran = run_on(locate(f"sglang=={version}"), file)
    assert ran.status == PASSED, ran.told


def test_a_turn_that_is_aborted_while_it_waits_has_no_counterpart() -> None:
    calls = Calls()
    calls.line(1, op.OpenSession("s"))
    calls.line(2, op.Turn("s", "r", (1,)))
    with pytest.raises(NotExportable, match="aborts turn 'r' while it waits"):
        calls.line(3, op.Abort("r"))
    calls.line(4, op.Prefill("r", 1))
    assert calls.line(5, op.Abort("r")) == "request_1.abort()"
