"""What the look at a Rust core yields can fail: defects of ours around a real core are seen.

Each is planted in the Python shell of the core of one release, and the rule that speaks of it must
complain; without it the same trace holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import RUST, fetch
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.trace import Trace
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import ADAPTER, broken_copy

RELEASE = "0.5.23"
A = (1, 1, 2, 2)
WITH_HOST, WITHOUT_HOST = CacheConfig(), CacheConfig(host_full_slots=0, host_swa_slots=0)


@dataclass(frozen=True, slots=True)
class Defect:
    """``body``: of a class around the shell; ``slug``: of the rule that it breaks."""

    body: str
    operations: tuple[Operation, ...]
    slug: str
    config: CacheConfig = WITH_HOST

    @property
    def trace(self) -> Trace:
        return Trace(self.config, self.operations)


DEFECTS: dict[str, Defect] = {
    "an insert files its slots in reverse": Defect(
        "    def begin_insert(self, params):\n"
        "        params.value = params.value.flip(0)\n"
        "        return super().begin_insert(params)\n",
        (op.Insert(A),),
        "device-slots-hold-their-prefix",
        WITHOUT_HOST,
    ),
    "a backup files its host slots in reverse": Defect(
        "    def commit_backup(self, node_id, host_indices, comp_xfers):\n"
        "        super().commit_backup(node_id, host_indices.flip(0), comp_xfers)\n",
        (op.Insert((1, 1)), op.Execute(op.WRITE)),
        "pending-writes-keep-their-source",
    ),
    "a backup files the host slots of windows in reverse": Defect(
        "    def commit_backup(self, node_id, host_indices, comp_xfers):\n"
        "        from copy import copy\n"
        "        turned = {c: [copy(t) for t in ts] for c, ts in comp_xfers.items()}\n"
        "        for transfer in (t for ts in turned.values() for t in ts):\n"
        "            transfer.host_indices = transfer.host_indices.flip(0)\n"
        "        super().commit_backup(node_id, host_indices, turned)\n",
        (op.Insert((1, 1)), op.Execute(op.WRITE)),
        "pending-writes-keep-their-source",
    ),
    "a hit is not backed up": Defect(
        "    def _insert_step_from_binding(self, step):\n"
        "        found = super()._insert_step_from_binding(step)\n"
        "        return type(found)(\n"
        "            actions=[a for a in found.actions if not isinstance(a, BackupKV)],\n"
        "            result=found.result,\n"
        "        )\n",
        (op.Insert((1, 1)),),
        "hits-at-the-threshold-are-backed-up",
    ),
    "a lock is not given back": Defect(
        "    def dec_lock_ref(self, node_id, params, skip_swa=False):\n"
        "        return DecLockRefResult()\n",
        (op.Insert((1, 1)), op.Lock("a", (1, 1)), op.Unlock("a")),
        "lock-counts-are-sums-of-receipts",
        WITHOUT_HOST,
    ),
    "a lock leaves the window out": Defect(
        "    def inc_lock_ref(self, node_id, skip_lock_components=()):\n"
        "        return super().inc_lock_ref(node_id, [ComponentType.SWA])\n",
        (op.Admit("r", tokens=A), op.Prefill("r", 4), op.Evict(swa=4)),
        "requests-read-their-own-prefix",
        WITHOUT_HOST,
    ),
    "an eviction frees nothing": Defect(
        "    def _fill_evict_result(self, binding_result, result):\n"
        "        result = super()._fill_evict_result(binding_result, result)\n"
        "        result.device_frees.clear()\n"
        "        return result\n",
        (op.Insert((1, 1)), op.Execute(op.WRITE), op.Observe(op.WRITE), op.Evict(full=2)),
        "device-slots-have-one-owner",
    ),
    "a host eviction frees nothing": Defect(
        "    def _fill_evict_result(self, binding_result, result):\n"
        "        result = super()._fill_evict_result(binding_result, result)\n"
        "        result.host_frees.clear()\n"
        "        return result\n",
        (
            op.Insert((1, 1)),
            op.Execute(op.WRITE),
            op.Observe(op.WRITE),
            op.Evict(full=2),
            op.EvictHost(2),
        ),
        "host-slots-have-one-owner",
    ),
    "a match stops a page early": Defect(
        "    def _match_result_from_binding(self, result):\n"
        "        found = super()._match_result_from_binding(result)\n"
        "        return found._replace(device_prefix_len=max(0, found.device_prefix_len - 1))\n",
        (op.Insert((1, 1)), op.Match((1, 1))),
        "a-match-finds-the-longest-usable-prefix",
        WITHOUT_HOST,
    ),
    "a load files its device slots in reverse": Defect(
        "    def commit_load_back(self, node_id, device_indices, kv_xfer, comp_xfers):\n"
        "        return super().commit_load_back(\n"
        "            node_id, device_indices.flip(0), kv_xfer, comp_xfers\n"
        "        )\n",
        (
            op.Insert((1, 1)),
            op.Execute(op.WRITE),
            op.Observe(op.WRITE),
            op.Evict(full=2),
            op.LoadBack((1, 1)),
        ),
        "pending-loads-keep-both-ends",
    ),
}


SHORT = {
    "an insert files its slots in reverse",
    "a hit is not backed up",
    "a lock leaves the window out",
    "a host eviction frees nothing",
}
"""Those whose start of a process of their own is worth it in every run of the tests."""
EACH = pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)


@pytest.fixture(scope="module")
def sound() -> Iterator[ReleaseProcess]:
    with start(f"sglang=={RELEASE}", RUST, {}) as running:
        yield running


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(d, id=name, marks=() if name in SHORT else pytest.mark.nightly)
        for name, d in DEFECTS.items()
    ],
)
def test_a_defect_around_the_core_is_seen(defect: Defect, tmp_path: Path) -> None:
    tree, kind = fetch(RELEASE), "RustUnifiedTreeCore"
    root = broken_copy(tree, tmp_path / "tree", defect.body, inside=ADAPTER, kind=kind)
    with start(f"sglang:{root}", RUST, {}) as broken:
        found = replay_on(broken, defect.trace)
    assert found is not None
    assert defect.slug in found.slugs


@EACH
def test_without_the_defect_the_trace_holds(defect: Defect, sound: ReleaseProcess) -> None:
    assert replay_on(sound, defect.trace) is None
