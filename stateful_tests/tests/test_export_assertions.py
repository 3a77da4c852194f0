"""Every assertion of an exported test holds where nothing is wrong, and fails where something is.

A trace that shows no defect is exported with assertions; then each is given a state that was
spoilt for it. The assertions that recorded bugs show are tested there (test_export.py).
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from radixproof.impl.sglang.wheels import locate
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.trace import Trace
from radixproof.stateful_tests.bugs.open import OPEN
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS
from radixproof.stateful_tests.export.run import PASSED, run_on
from radixproof.stateful_tests.export.unittest_file import asserted, unittest_file
from radixproof.stateful_tests.tests.exported import as_if_wrong

_PREFIX = (
    op.Insert((1, 1, 1)),
    op.Insert((2, 2)),
    op.Execute(op.WRITE),
    op.Execute(op.WRITE),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE),
)
_TWO_TIERS = CacheConfig((FULL, SWA), 1, 2, 24, 24, 49, 49)
_WITH_STATES = CacheConfig(
    (FULL, MAMBA),
    full_slots=16,
    swa_slots=0,
    host_full_slots=33,
    host_swa_slots=0,
    mamba_slots=6,
    host_mamba_slots=13,
)
MATCH = Trace(_TWO_TIERS, (*_PREFIX, op.Match((1, 1, 1))))
PREFILL = Trace(_TWO_TIERS, (*_PREFIX, op.Admit("r", (1, 1, 1, 3, 3)), op.Prefill("r", 1)))
RESET = Trace(_TWO_TIERS, (*_PREFIX, op.Reset()))
TURN = Trace(
    CacheConfig((FULL, SWA), 1, 3, 24, 24, host_full_slots=0, host_swa_slots=0, sessions=True),
    (
        op.OpenSession("s"),
        op.OpenSession("t"),
        op.Turn("s", "r1", (1, 2, 3, 4)),
        op.Prefill("r1", 4),
        op.Finish("r1"),
        op.Turn("t", "r2", (1, 2, 3)),
        op.Prefill("r2", 1),
        op.Decode("r2", (5, 5), ahead=2),
        op.Finish("r2"),
        op.Turn("s", "r3", (6,)),
    ),
)
STATES = Trace(
    _WITH_STATES,
    (op.Insert((1, 1)), op.Insert((2,)), op.Admit("r", (1, 1, 3, 3)), op.Prefill("r", 1)),
)

DEVICE = ('after.slots["FULL", "device", "", (9,)] = 1',)
HOST = ('after.slots["FULL", "host", "", (9,)] = 1',)
WAS_ON_DEVICE = ('before.slots["FULL", "device", "", (9,)] = 1',)
WAS_ON_HOST = ('before.slots["FULL", "host", "", (9,)] = 1',)
NODE = ("after.nodes.append(after.nodes[0]._replace(tokens=(9,), parent=-1))",)
GAP = ('after.slots["FULL", "host", "", (9, 9)] = 1',)
OTHER = ("cache.acting.tokens = (9, 9, 9, 9)",)
SPOILT: tuple[tuple[Trace, dict[str, tuple[str, ...]]], ...] = (
    (
        MATCH,
        {
            "nodes-have-data": NODE,
            "device-data-is-prefix-closed": ('after.slots["FULL", "device", "", (9, 9)] = 1',),
            "backup-is-prefix-closed": GAP,
            "host-only-nodes-can-be-reached": GAP,
            "host-only-never-follows-device-only": (*DEVICE, *GAP),
            "swa-data-needs-full-data": ('after.slots["SWA", "device", "", (9,)] = 1',),
            "device-leaf-set-is-exact": (*DEVICE, *NODE),
            "host-leaf-set-is-exact": (*HOST, *NODE),
            "keys-are-whole-pages": ("cache.page_size = 7",),
            "parents-and-children-agree": (
                "after.nodes[:] = [s._replace(parent=0) for s in after.nodes]",
            ),
            "swa-list-is-exact": ('after.recent["SWA"].append(("", (9,)))',),
            "swa-host-list-is-exact": ('after.recent_on_host["SWA"].append(("", (9,)))',),
            "lock-counts-are-sums-of-receipts": (
                "after.nodes[0] = after.nodes[0]._replace(node=with_locks(FULL=7))",
            ),
            "nothing-is-held-when-idle": ("after.locks['FULL', 'device', '', (9,)] = 1",),
            "eviction-makes-progress": ("cache.asked = {'FULL': 1}",),
            "a-split-moves-no-data": DEVICE,
            "a-refused-insert-changes-nothing": ("after.free['FULL', 'device'] = []",),
            "device-slots-have-one-owner": DEVICE,
            "host-slots-have-one-owner": HOST,
            "map-agrees-with-live-swa-data": (
                "after.slots.update({k: 0 for k in after.slots if k[:2] == ('SWA', 'device')})",
            ),
            "tombstones-are-unmapped": (
                "after.slots = {k: x for k, x in after.slots.items() if k[0] != 'SWA'}",
            ),
            "free-slots-are-unmapped": ("after.free['FULL', 'device'] = list(range(1, 25))",),
            "sizes-add-up": (*DEVICE, "after.locks['FULL', 'device', '', (9,)] = 0"),
            "lock-counts-are-not-negative": ("after.locks['FULL', 'device', '', (9,)] = -1",),
            "full-locks-are-upward-closed": (
                "after.nodes[0] = after.nodes[0]._replace(node=with_locks(FULL=0, SWA=0))",
                "after.nodes[1] = after.nodes[1]._replace(parent=0, node=with_locks(FULL=1))",
            ),
            "swa-locks-never-exceed-full-locks": (
                "after.nodes[0] = after.nodes[0]._replace(node=with_locks(FULL=0, SWA=1))",
            ),
            "locked-device-data-stays": (
                *WAS_ON_DEVICE,
                'before.locks["FULL", "device", "", (9,)] = 1',
            ),
            "host-locked-data-stays": (*WAS_ON_HOST, 'before.locks["FULL", "host", "", (9,)] = 1'),
            "receipts-change-only-for-their-owner": (
                "before.locks['FULL', 'device', '', (9,)] = 1",
            ),
            "what-is-not-used-keeps-its-place": (
                "cache.used = ('', ())",
                "after.recent['SWA'] = before.recent['SWA'][::-1]",
            ),
            "device-slots-hold-their-prefix": (*DEVICE, "cache.tags['', (9,)] = -5"),
            "host-slots-hold-their-prefix": (*HOST, "cache.tags['', (9,)] = -5"),
            "evicting-a-backed-up-leaf-demotes-it": (*WAS_ON_DEVICE, *WAS_ON_HOST),
            "write-back-loses-nothing-with-room": WAS_ON_DEVICE,
            "only-host-eviction-loses-host-data": WAS_ON_HOST,
            "only-device-eviction-loses-device-data": WAS_ON_DEVICE,
            "only-eviction-removes-nodes": tuple(
                x.replace("after.nodes.", "before.nodes.") for x in NODE
            ),
            "host-eviction-touches-no-device-data": DEVICE,
            "a-match-changes-only-recency-and-one-split": HOST,
            "locks-move-no-data": DEVICE,
            "observing-moves-no-data": HOST,
            "an-aborted-request-caches-nothing": DEVICE,
            "nothing-is-backed-up-before-its-time": HOST,
            "only-what-is-evicted-is-written-back": (*DEVICE, *HOST),
            "write-back-waits-for-its-copies": ("after.writes[1] = set()",),
            "an-inserted-key-is-on-device": ("cache.inserted = ('', (9,))",),
            "an-insert-recovers-swa-inside-the-window": ("cache.inserted = ('', (9,))",),
        },
    ),
    (
        PREFILL,
        {
            "a-finished-request-is-cached": OTHER,
            "a-prefilled-chunk-is-cached-and-held": ("cache.acting.row = cache.acting.row + 1",),
            "a-running-request-holds-its-prefix": ("after.locks = dict.fromkeys(after.locks, 0)",),
            "requests-read-their-own-prefix": (
                *OTHER,
                "cache.tags |= {('', (9,) * n): -n for n in range(1, 5)}",
            ),
        },
    ),
    (
        TURN,
        {
            "a-session-has-one-turn-in-flight": ("before.in_flight['s'] = object()",),
            "a-turn-goes-on-from-the-history": ("cache.acting.said = (7,)",),
            "sessions-keep-the-kv-of-their-tokens": ("cache.sessions['t'].kept = (9,) * 6",),
            "sessions-keep-their-window": ("cache.sessions['t'].kept = (9,) * 6",),
            "device-slots-have-one-owner": ("cache.sessions = {}",),
            "lock-counts-are-sums-of-receipts": ("cache.sessions = {}",),
        },
    ),
    (RESET, {"a-reset-leaves-nothing": ("after.nodes = before.nodes",)}),
    (
        STATES,
        {
            "states-need-full-data": ('after.slots["MAMBA", "device", "", (9,)] = 1',),
            "mamba-host-list-is-exact": ('after.recent_on_host["MAMBA"].append(("", (9,)))',),
            "mamba-list-is-exact": ('after.recent["MAMBA"].append(("", (9,)))',),
            "device-slots-have-one-owner": ('after.slots["MAMBA", "device", "", (9,)] = 1',),
            "device-slots-hold-their-prefix": (
                'after.slots["MAMBA", "device", "", (9,)] = 1',
                "cache.tags['', (9,)] = -5",
            ),
            "requests-go-on-from-their-own-state": OTHER,
            "an-admitted-request-gets-its-prefixs-state": OTHER,
            "the-state-of-what-was-computed-is-cached": OTHER,
            "state-locks-never-exceed-window-locks": (
                "after.nodes[0] = after.nodes[0]._replace(node=with_locks(FULL=0, MAMBA=1))",
            ),
        },
    ),
)
"""Of each trace: invariant -> statements that spoil the states around its last operation."""

_TOOLS = """

def with_locks(**counts):
    from types import SimpleNamespace

    locks = {c: SimpleNamespace(lock_ref=n, host_lock_ref=0) for c, n in counts.items()}
    none = SimpleNamespace(lock_ref=0, host_lock_ref=0)
    data = {c: locks.get(c.name, none) for c in ComponentType}
    return SimpleNamespace(id=-1, component_data=data)


def a_copy(x):
    from copy import copy

    made = copy(x)
    for name, value in vars(made).items():
        if isinstance(value, dict | list) or name == "acting":
            setattr(made, name, copy(value))
    if getattr(made, "running", None):
        made.running = [made.acting]
    return made
"""


def spoilt(trace: Trace, how: dict[str, tuple[str, ...]]) -> str:
    """A test that the assertions hold of a trace, and then fail one by one."""
    text = unittest_file(as_if_wrong(trace, *how), "a release").replace(
        "\n\n\nclass Test", f"{_TOOLS}\n\nclass Test"
    )
    blocks = [
        dedent(
            """
            def spoil(cache, before, after):
                {}
                self.{}(cache, before, after)

            with self.subTest({!r}), self.assertRaises(AssertionError):
                spoil(*map(a_copy, (cache, before, after)))
            """
        ).format("\n    ".join(statements), slug.replace("-", "_"), slug)
        for slug, statements in how.items()
    ]
    body = indent("".join(blocks), " " * 8)
    return text.replace('\n\n\nif __name__ == "__main__"', f'\n{body}\n\nif __name__ == "__main__"')


@pytest.mark.parametrize(
    ("trace", "how"), SPOILT, ids=("a match", "a prefill", "a turn", "a reset", "with states")
)
def test_assertions_hold_and_fail(
    trace: Trace, how: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    file = tmp_path / "test_spoilt.py"
    file.write_text(spoilt(trace, how), encoding="utf-8")
    ran = run_on(locate("sglang==0.5.23"), file)
    assert ran.status == PASSED, ran.told


def test_every_assertion_fails_here_or_on_a_recorded_bug() -> None:
    shown = {slug for _, how in SPOILT for slug in how}
    shown = shown.union(*(bug.wanted for bug in RELEASE_BUGS.values()))
    shown = shown.union(*(defect.wanted for defect in OPEN.values()))
    assert asserted() - shown == set()
