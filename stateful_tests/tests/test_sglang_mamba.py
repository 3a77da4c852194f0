"""SGLang with recurrent states: what is driven holds, and what is planted is found.

What needs a release is fetched from the package index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model import operations as op
from radixproof.model.config import (
    FULL,
    MAMBA,
    SWA,
    WRITE_BACK,
    WRITE_THROUGH_SELECTIVE,
    CacheConfig,
)
from radixproof.model.reference import ReferenceModel
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.bugs.open import OPEN
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.sglang.judge import Plan, judge, replay_on
from radixproof.stateful_tests.sglang.legal.use import why_illegal
from radixproof.stateful_tests.tests.broken import broken_copy

COMPONENT = Path("sglang/srt/mem_cache/unified_cache/components/mamba.py")


@dataclass(frozen=True, slots=True)
class Planted:
    """``method``: what a class of 0.5.23 does instead. ``wanted``: slugs, each of which tells."""

    method: str
    wanted: frozenset[str]
    module: Path = COMPONENT
    kind: str = "MambaComponent"


PLANTED = {
    "a split takes the state along": Planted(
        """
    def redistribute_on_node_split(self, new_parent, child):
        super().redistribute_on_node_split(new_parent, child)
        own, its = (n.component_data[self.component_type] for n in (new_parent, child))
        if its.value is not None and not its.lock_ref:
            self.tree_core.lru_lists[self.component_type].remove_node(child)
            self.tree_core.lru_lists[self.component_type].insert_mru(new_parent)
            own.value, its.value = its.value, None
""",
        frozenset({"device-slots-hold-their-prefix"}),
    ),
    "a state that the tree had already is forgotten": Planted(
        """
    def cleanup_after_caching_req(self, req, is_finished, insert_result=None, insert_params=None):
        if is_finished or insert_result is None or not insert_result.mamba_exist:
            super().cleanup_after_caching_req(req, is_finished, insert_result, insert_params)
""",
        frozenset({"device-slots-have-one-owner"}),
    ),
    "copy-on-write copies nothing": Planted(
        """
    def finalize_match_result_in_cache(self, params, result):
        found = super().finalize_match_result_in_cache(params, result)
        if params.req is not None:
            params.req.kv.mamba_cow_src_index = None
        return found
""",
        frozenset({"an-admitted-request-gets-its-prefixs-state"}),
    ),
    "a state is evicted under a lock": Planted(
        """
    def acquire_component_lock(self, node, result, lock_host=False):
        return result

    def release_component_lock(self, node, params, lock_host=False):
        pass
""",
        frozenset({"lock-counts-are-sums-of-receipts"}),
    ),
}


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(p, id=name, marks=() if i == 0 else pytest.mark.nightly)
        for i, (name, p) in enumerate(PLANTED.items())
    ],
)
def test_a_planted_defect_is_found(planted: Planted, tmp_path: Path) -> None:
    tree = fetch("0.5.23")
    root = broken_copy(tree, tmp_path, planted.method, inside=planted.module, kind=planted.kind)
    plan = Plan(200, limits=Limits((FULL, MAMBA), host=False), wanted=planted.wanted)
    with start(f"sglang:{root}", PYTHON, {}) as running:
        run = judge(running, plan, seed=0)
    assert run.stopped == ""
    assert planted.wanted & {slug for f in run.found for slug in f.counterexample.slugs}


DRIVEN = {
    "one tier": Limits((FULL, MAMBA), host=False),
    "three components, one tier": Limits((FULL, SWA, MAMBA), host=False),
    "two tiers": Limits((FULL, MAMBA), WRITE_BACK, host=True),
    "three components, two tiers": Limits((FULL, SWA, MAMBA), WRITE_THROUGH_SELECTIVE, host=True),
}


def test_a_release_with_states_holds_where_nothing_is_known() -> None:
    """Everything that such a server does is performed, and nothing is amiss."""
    with start("sglang==0.5.23", PYTHON, {}) as running:
        runs = {name: judge(running, Plan(20, limits=x), seed=3) for name, x in DRIVEN.items()}
    for name, run in runs.items():
        assert (name, run.found, run.stopped) == (name, [], "")
    whole = Coverage()
    for run in runs.values():
        whole.add(run.coverage)
    done = {operation for operation, kind in whole.outcomes if kind == "ok"}
    assert done >= {"admit", "prefill", "decode", "finish", "retract", "load_back", "evict_host"}


CONFIG = CacheConfig(
    components=(FULL, MAMBA), swa_slots=0, host_full_slots=0, host_swa_slots=0, mamba_slots=6
)


def test_a_server_runs_one_request_for_three_states() -> None:
    model = ReferenceModel(CONFIG)
    for name in ("r1", "r2"):
        admit = op.Admit(name, (1, 2))
        assert why_illegal(model.snapshot(), admit) is None
        model.apply(admit)
    assert why_illegal(model.snapshot(), op.Admit("r3", (1, 2))) is not None


def test_an_admitted_batch_is_computed_first() -> None:
    model = ReferenceModel(CONFIG)
    model.apply(op.Admit("r1", (1, 2)))
    assert why_illegal(model.snapshot(), op.Insert((1,))) is not None
    assert why_illegal(model.snapshot(), op.Abort("r1")) is None
    model.apply(op.Prefill("r1", 1))
    assert why_illegal(model.snapshot(), op.Insert((1,))) is None


IMPOSSIBLE = {
    "no host tier for full,swa,mamba": CacheConfig(
        components=(FULL, SWA, MAMBA), mamba_slots=6, host_full_slots=129, host_mamba_slots=13
    ),
    "host pools want at least 2 pages": replace(CONFIG, host_full_slots=1, host_mamba_slots=1),
}


@pytest.mark.parametrize(("why", "config"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_what_a_release_cannot_be_is_one_line(
    why: str, config: CacheConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(dumps(Trace(config, (op.Insert((1,)),))), encoding="utf-8")
    assert main(["replay", str(path), "--subject", "sglang==0.5.13"]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize("defect", ["pinned-states", "state-of-a-refused-load"])
def test_an_open_defect_is_not_in_our_own_cache(defect: str) -> None:
    assert replay(OPEN[defect].trace(), open_torch) is None


def test_a_refused_load_leaves_a_state_of_zeros() -> None:
    """The latest release still does it."""
    defect = OPEN["state-of-a-refused-load"]
    with start(f"sglang=={defect.latest}", PYTHON, {}) as running:
        found = replay_on(running, defect.trace())
    assert found is not None
    assert defect.wanted <= set(found.slugs)
