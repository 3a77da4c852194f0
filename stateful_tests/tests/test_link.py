"""What is proved is what runs: every observed step is a sequence of the theory's transitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.invariants.catalogue import Step
from radixproof.invariants.checker import check_state, check_step
from radixproof.invariants.proofs.beyond import SHOWS
from radixproof.invariants.proofs.link import MAY_TAKE, explain
from radixproof.invariants.proofs.slots.abstraction import broken
from radixproof.invariants.proofs.slots.link import MAY_TAKE as SLOTS_MAY_TAKE
from radixproof.invariants.proofs.slots.link import explain_slots
from radixproof.invariants.proofs.slots.theory import RULES as SLOT_RULES
from radixproof.invariants.proofs.slots.theory import SLOTS
from radixproof.invariants.proofs.taking import Explanation
from radixproof.invariants.proofs.theory import THEORY
from radixproof.invariants.proofs.variants import RULES
from radixproof.invariants.view import View
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import OPERATIONS
from radixproof.model.options import UNPINNED_LOADS
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import Trace
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import draw_config
from radixproof.stateful_tests.corpus import corpus, load
from radixproof.stateful_tests.enabled import draw_style, draw_weights
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.lockstep import link as count_link
from radixproof.stateful_tests.tests.runs import Observed, observed_steps
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.walk import next_operation

ELSEWHERE = {"nothing-is-held-when-idle"}
"""Proved for locks and marks; its other half counts slots, which the theory leaves out."""


def link(observed: Observed) -> Explanation:
    before, operation, outcome, after = observed
    return explain(Step(View(before), operation, outcome, View(after)))


def walked(open_subject: OpenSubject, seed: int, steps: int = 50) -> Iterator[Observed]:
    """The steps of a subject that is walked beside the specification, until it breaks."""
    choose = RandomChooser(Random(seed))
    model = ReferenceModel(draw_config(choose))
    subject = open_subject(model.config)
    before, state = subject.snapshot(), model.snapshot()
    situation = draw_style(choose, state)
    situation.weights = draw_weights(choose)
    for _ in range(steps):
        situation.state = state
        operation = next_operation(situation, choose)
        model.apply(operation)
        state = model.snapshot()
        outcome = subject.apply(operation)
        if outcome.error is ErrorKind.INTERNAL:
            break
        after = subject.snapshot()
        yield before, operation, outcome, after
        before = after
    subject.close()


def replayed(open_subject: OpenSubject, trace: Trace) -> Iterator[Observed]:
    subject = open_subject(trace.config)
    before = subject.snapshot()
    for operation in trace.operations:
        outcome = subject.apply(operation)
        if outcome.error is ErrorKind.INTERNAL:
            return
        after = subject.snapshot()
        yield before, operation, outcome, after
        before = after


def test_every_step_of_the_model_is_in_the_relation() -> None:
    taken: Counter[str] = Counter()
    for seed in range(80):
        for observed in observed_steps(seed):
            found = link(observed)
            assert found.holds, (seed, observed[1], found)
            taken.update(t.name for t in found.taken)
    unseen = {t.name for t in THEORY.transitions} - set(taken)
    assert unseen <= {"attach"}, unseen


def test_every_step_of_the_torch_cache_is_in_the_relation() -> None:
    for seed in range(1000, 1040):
        for observed in walked(open_torch, seed):
            found = link(observed)
            assert found.holds, (seed, observed[1], found)


def test_every_recorded_trace_is_in_the_relation() -> None:
    for path in corpus():
        for open_subject in (ReferenceModel, open_torch):
            for observed in replayed(open_subject, load(path)):
                found = link(observed)
                assert found.holds, (path, observed[1], found)


def test_every_operation_may_take_something_or_nothing() -> None:
    assert set(MAY_TAKE) == set(OPERATIONS.values())
    assert set().union(*MAY_TAKE.values()) <= {t.name for t in THEORY.transitions}


def test_link_and_catalogue_agree_on_right_and_wrong_caches() -> None:
    """No step is refused that the catalogue lets pass, and what is proved is refused by both."""
    proved = {c.slug for c in THEORY.claims} - ELSEWHERE
    refused = 0
    for open_subject in (open_torch, *(v.open for v in VARIANTS.values())):
        for seed in (0, 2, 6, 7):
            for observed in walked(open_subject, seed):
                told = {v.slug for v in (*check_state(observed[3]), *check_step(*observed))}
                found = link(observed)
                assert found.holds or told, (seed, observed[1], found)
                assert not (found.holds and told & proved), (seed, observed[1], told)
                refused += not found.holds
                if told:
                    break
    assert refused > 20


# The slots


def slot_link(observed: Observed) -> Explanation:
    before, operation, outcome, after = observed
    return explain_slots(Step(View(before), operation, outcome, View(after)))


def test_every_step_is_in_the_relation_of_slots() -> None:
    taken: Counter[str] = Counter()
    for open_subject in (ReferenceModel, open_torch):
        for seed in range(40):
            for observed in walked(open_subject, seed):
                found = slot_link(observed)
                assert found.holds, (seed, observed[1], found)
                taken.update(t.name for t in found.taken)
        for path in corpus():
            for observed in replayed(open_subject, load(path)):
                found = slot_link(observed)
                assert found.holds, (path, observed[1], found)
    unseen = {t.name for t in SLOTS.transitions} - set(taken)
    assert unseen == {"back-up-refused"}, "it changes nothing, and no link needs it"


@pytest.mark.parametrize("open_subject", [ReferenceModel, open_torch], ids=["model", "torch"])
def test_a_token_that_comes_anew_in_its_old_slot_is_explained(open_subject: OpenSubject) -> None:
    """A prefill evicts SWA of the path that its insert walks, and gets the same slot for it."""
    config = CacheConfig(
        components=("full", "swa", "mamba"),
        sliding_window=1,
        swa_slots=4,
        host_full_slots=8,
        host_swa_slots=8,
        host_mamba_slots=3,
        mamba_chunk_size=2,
        materialize_out_of_window_leaf=False,
        write_policy="write_through_selective",
    )
    operations = (
        op.Insert((1, 1, 1, 1)),
        op.Lock("a", (1, 1, 1, 1)),
        op.Admit("r2", (1, 1)),
        op.Prefill("r2", 1),
    )
    steps = list(replayed(open_subject, Trace(config, operations)))
    found = slot_link(steps[-1])
    assert found.holds, found
    assert {"tombstone", "evict"} & {t.name for t in found.taken}


def test_the_link_of_slots_cries_no_wolf_on_wrong_caches() -> None:
    for wrong in VARIANTS.values():
        for seed in (0, 4):
            for observed in walked(wrong.open, seed):
                told = [*check_state(observed[3]), *check_step(*observed)]
                found = slot_link(observed)
                assert found.holds or told, (wrong.id, seed, observed[1], found)
                if told:
                    break


@pytest.mark.parametrize("id", [r.id for r in SLOT_RULES])
def test_a_wrong_cache_leaves_the_relation_of_slots(id: str) -> None:
    variant = VARIANTS[id]
    kept = [load(path) for path in corpus() if path.name.startswith(f"{id.lower()}-")]
    runs = [
        *(replayed(variant.open, trace) for trace in kept),
        *(walked(variant.open, seed) for seed in range(30)),
    ]
    assert any(not slot_link(observed).holds for run in runs for observed in run)


def test_slots_may_not_move_where_nothing_moves() -> None:
    """Each operation may take transitions of its own kind alone, and every one is some kind's."""
    assert set(SLOTS_MAY_TAKE) == set(OPERATIONS.values())
    names = {t.name for t in SLOTS.transitions} - {"back-up-refused"}
    assert set().union(*SLOTS_MAY_TAKE.values()) == names
    trace = Trace(CacheConfig(), (op.Insert((1, 2)),))
    before, _, outcome, after = next(iter(replayed(ReferenceModel, trace)))
    found = slot_link((before, op.Execute("write"), outcome, after))
    assert "no part of execute" in found.faults[0]


OF_SLOTS = {
    "device-slots-have-one-owner",
    "host-slots-have-one-owner",
    "map-agrees-with-live-swa-data",
    "tombstones-are-unmapped",
    "free-slots-are-unmapped",
}


def test_the_theory_of_slots_and_the_catalogue_agree_on_states() -> None:
    """What the catalogue says of slots the theory says too, and it raises no false alarm."""
    refused = 0
    for open_subject in (open_torch, *(VARIANTS[i].open for i in ("M-4", "M-4b", "M-20", "M-41"))):
        for seed in (8, 11, 13):
            for observed in walked(open_subject, seed):
                told = {v.slug for v in (*check_state(observed[3]), *check_step(*observed))}
                found = broken(View(observed[3]))
                assert told or not found, (seed, observed[1], found)
                assert found or not told & OF_SLOTS, (seed, observed[1], told)
                refused += bool(found)
                if told:
                    break
    assert refused >= 4


@pytest.mark.parametrize("id", [r.id for r in RULES if r.id in VARIANTS])
def test_a_wrong_cache_leaves_the_relation(id: str) -> None:
    """The wrong rules that the proof refutes, planted in the torch cache."""
    variant = VARIANTS[id]
    kept = [load(path) for path in corpus() if path.name.startswith(f"{id.lower()}-")]
    runs = [
        *(replayed(variant.open, trace) for trace in kept),
        *(walked(variant.open, seed) for seed in range(60)),
    ]
    assert any(not link(observed).holds for run in runs for observed in run)


def test_an_operation_may_not_do_what_another_does() -> None:
    """An eviction that nobody asked for is no part of an execution."""
    steps = list(
        replayed(ReferenceModel, Trace(CacheConfig(), (op.Insert((1, 2)), op.Insert((3,)))))
    )
    before, _, outcome, after = steps[1]
    found = link((before, op.Execute("write"), outcome, after))
    assert not found.holds
    assert "no part of execute" in found.faults[0]


@pytest.mark.parametrize("id", ["M-1", "M-1b", "M-1d", "M-2", "M-3", "M-5", "M-7", "M-24"])
def test_no_wrong_rule_hides_behind_an_option(id: str) -> None:
    """Even where a cache claims every difference that releases have, its wrong steps are faults."""
    variant, claimed = VARIANTS[id], frozenset(SHOWS)
    kept = [load(path) for path in corpus() if path.name.startswith(f"{id.lower()}-")]
    wrong = 0
    for run in (
        *(replayed(variant.open, trace) for trace in kept),
        *(walked(variant.open, seed) for seed in range(8)),
    ):
        for before, operation, outcome, after in run:
            if not link((before, operation, outcome, after)).holds:
                now = replace(before, options=claimed), replace(after, options=claimed)
                found = link((now[0], operation, outcome, now[1]))
                assert found.faults
                assert found.beyond == ()
                wrong += 1
                break
    assert wrong


def test_a_step_beyond_the_relation_is_neither_held_nor_at_fault() -> None:
    """A load-back without a host lock on its source: legal where the release never takes one."""
    wrong, option = VARIANTS["M-11"], frozenset({UNPINNED_LOADS})
    kept = [load(path) for path in corpus() if path.name.startswith("m-11-")]
    observed = next(o for t in kept for o in replayed(wrong.open, t) if not link(o).holds)
    assert link(observed).beyond == ()
    before, operation, outcome, after = observed
    known = (replace(before, options=option), operation, outcome, replace(after, options=option))
    found = link(known)
    assert not found.holds
    assert found.beyond == (UNPINNED_LOADS,)
    coverage = Coverage()
    assert (
        count_link(Step(View(known[0]), operation, outcome, View(known[3])), "it", coverage) == []
    )
    assert coverage.links == {UNPINNED_LOADS: 1}
