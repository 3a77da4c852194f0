"""No invariant is vacuous, none raises on a broken state, and none cries wolf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from radixproof.invariants import catalogue
from radixproof.invariants.catalogue import CATALOGUE, STATE, STEP
from radixproof.invariants.checker import (
    STATE_INVARIANTS,
    STEP_INVARIANTS,
    TOO_BROKEN,
    IncrementalChecker,
    check_state,
    check_step,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Violation
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA, WRITE_BACK, CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import OPERATIONS, EvictHost, LoadBack, Reset
from radixproof.model.options import (
    BACKS_UP_WHAT_IS_REGAINED,
    BINDS_BY_BATCH,
    CHUNKS_COUNT_HITS,
    COPIES_LATER_STATES,
    COPIES_LATER_WINDOWS,
)
from radixproof.model.outcome import error, ok, refused
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.tests.corruptions import CORRUPTIONS, lie
from radixproof.stateful_tests.tests.put_aside import (
    chunk_of_a_tracking_server,
    put_aside_wrongly,
)
from radixproof.stateful_tests.tests.runs import Observed, observed_steps

RUNS = range(120)


@pytest.fixture(scope="module")
def steps() -> list[Observed]:
    return [step for seed in RUNS for step in observed_steps(seed, 40)]


def slugs(violations: list[Violation]) -> set[str]:
    """Of checks that came to an answer."""
    return {v.slug for v in violations if TOO_BROKEN not in v.fault.message}


def test_the_specification_keeps_every_invariant(steps: list[Observed]) -> None:
    for before, operation, outcome, after in steps:
        assert check_state(after) == []
        assert check_step(before, operation, outcome, after) == []


def test_every_state_invariant_notices_a_corruption(steps: list[Observed]) -> None:
    """And a corrupted state never makes a check raise."""
    choose = RandomChooser(Random(1))
    noticed: set[str] = set()
    for _, _, _, after in steps:
        for _ in range(6):
            corruption = CORRUPTIONS[choose.pick(tuple(CORRUPTIONS))]
            noticed |= slugs(check_state(corruption(after, choose)))
    for state in put_aside_wrongly():
        noticed |= slugs(check_state(state))
    off = ReferenceModel(CacheConfig(disable=True)).snapshot()
    noticed |= slugs(check_state(CORRUPTIONS["invent_node"](off, choose)))
    # Those of sessions and storage have tests of their own: the specification has neither.
    apart = ("sessions", "storage")
    stated = [i for i in CATALOGUE.values() if i.kind == STATE and i.family not in apart]
    missing = {i.slug for i in stated} - noticed
    assert missing == set()


def test_every_step_invariant_notices_a_corruption(steps: list[Observed]) -> None:
    """One end of a legal step is corrupted, or its outcome, or what was asked."""
    choose = RandomChooser(Random(2))
    noticed: set[str] = set()
    for before, operation, outcome, after in steps:
        for _ in range(8):
            corruption = CORRUPTIONS[choose.pick(tuple(CORRUPTIONS))]
            wrong = corruption(after, choose)
            noticed |= slugs(check_step(before, operation, outcome, wrong))
            wrong = corruption(before, choose)
            noticed |= slugs(check_step(wrong, operation, outcome, after))
        told = lie(outcome, choose)
        noticed |= slugs(check_step(before, operation, told, after))
        if isinstance(operation, LoadBack):
            modest = replace(operation, mem_quota=0)
            noticed |= slugs(check_step(before, modest, outcome, after))
    before, operation, outcome, after = _one_of_two_host_leaves_goes()
    wrong = CORRUPTIONS["reverse_access"](before, choose)
    noticed |= slugs(check_step(wrong, operation, outcome, after))
    before, operation, outcome, after = _a_load_takes_the_older_of_two_windows()
    wrong = replace(before, lru={SWA: before.lru[SWA][::-1]})
    noticed |= slugs(check_step(wrong, operation, outcome, after))
    due = _a_window_is_due()
    outcome = error(ErrorKind.PROTOCOL, "nothing is there to release early")
    noticed |= slugs(check_step(due, op.ReleaseWindow("r1"), outcome, due))
    for before, operation, outcome, after in _wrong_rounds():
        noticed |= slugs(check_step(before, operation, outcome, after))
    for chunk in (3, 8):
        noticed |= slugs(check_step(*chunk_of_a_tracking_server(chunk)))
    for before, operation, outcome, after in _steps_that_break_an_option():
        noticed |= slugs(check_step(before, operation, outcome, after))
    before, after = _a_busy_state_and_an_empty_one(steps)
    noticed |= slugs(check_step(before, Reset(), ok(), after))
    apart = ("steps.session", "steps.storage")
    stated = [i for i in CATALOGUE.values() if i.kind == STEP and i.family not in apart]
    missing = {i.slug for i in stated} - noticed
    assert missing == set()


def _one_of_two_host_leaves_goes() -> Observed:
    model = ReferenceModel(CacheConfig())
    begin: list[op.Operation] = [op.Insert((1,)), op.Insert((2,))]
    copies: list[op.Operation] = [op.Execute(op.WRITE), op.Execute(op.WRITE), op.Observe(op.WRITE)]
    for operation in [*begin, *copies, op.Evict(2)]:
        model.apply(operation)
    before, last = model.snapshot(), EvictHost(1)
    return before, last, model.apply(last), model.snapshot()


def _a_load_takes_the_older_of_two_windows() -> Observed:
    model = ReferenceModel(CacheConfig(components=(FULL, SWA), sliding_window=1, swa_slots=3))
    inserts: list[op.Operation] = [op.Insert((n,)) for n in (1, 2, 3, 4)]
    copies: list[op.Operation] = [op.Execute(op.WRITE), op.Observe(op.WRITE)]
    for operation in [inserts[0], *copies, op.Evict(1)]:
        model.apply(operation)
    for operation in inserts[1:]:
        for each in [operation, *copies]:
            model.apply(each)
    before, last = model.snapshot(), LoadBack((1,))
    return before, last, model.apply(last), model.snapshot()


def _a_window_is_due() -> Snapshot:
    model = ReferenceModel(CacheConfig(sliding_window=1))
    begin: list[op.Operation] = [op.Admit("r1", (1, 1)), op.Prefill("r1", 2), op.Decode("r1", (1,))]
    for operation in begin:
        model.apply(operation)
    return model.snapshot()


def _steps_that_break_an_option() -> Iterator[Observed]:
    """Of the specification, which follows none: it copies nothing to the host of what comes back
    (U-14), and counts a request twice (U-13)."""
    swa = CacheConfig((FULL, SWA), sliding_window=2, materialize_out_of_window_leaf=True)
    mamba = CacheConfig((FULL, MAMBA), mamba_slots=6, host_mamba_slots=6)
    done = (op.Execute(op.WRITE), op.Observe(op.WRITE))
    outside = op.Insert((1, 1), swa_evicted=2)
    yield _under(COPIES_LATER_WINDOWS, swa, outside, *done, op.Insert((1, 1)))
    yield _under(COPIES_LATER_WINDOWS, swa, outside, *done, op.Insert((1, 1, 1)))
    split = (op.Insert((1, 1)), *done, op.Match((1,)))
    yield _under(COPIES_LATER_STATES, mamba, *split, op.Insert((1,)))
    chunk = (op.Admit("r", (1, 1)), op.Prefill("r", 2), op.Decode("r", (1,)))
    yield _under(CHUNKS_COUNT_HITS, CacheConfig(), *chunk, op.Finish("r"))


def _under(option: str, config: CacheConfig, *operations: op.Operation) -> Observed:
    """The last step of the specification, taken for one of a cache that follows an option."""
    model = ReferenceModel(config)
    for operation in operations[:-1]:
        model.apply(operation)
    before, there = model.snapshot(), frozenset({option})
    outcome, after = model.apply(operations[-1]), model.snapshot()
    return replace(before, options=there), operations[-1], outcome, replace(after, options=there)


def _wrong_rounds() -> list[Observed]:
    """Of a scheduler that admits and computes nothing, starves, takes what it refuses, lies."""
    plain = CacheConfig(components=(FULL,), host_full_slots=0, host_swa_slots=0)
    model = ReferenceModel(plain)
    states = [model.snapshot()]
    for operation in (op.Insert((1, 1)), op.Admit("a", (1, 1, 2))):
        model.apply(operation)
        states.append(model.snapshot())
    scheduled = replace(plain, max_new_tokens=1)
    empty, idle, running = (replace(s, config=scheduled) for s in states)
    (request,) = running.requests
    granted = replace(running, requests=(replace(request, granted=3),))
    last = op.Admit("a", (1, 1, 2))
    return [
        (idle, last, ok(protected=2, device_hit=2), running),
        (empty, last, refused("no"), empty),
        (idle, last, refused("no"), replace(empty, nodes=idle.nodes)),
        (granted, op.Prefill("a", 1), refused("no"), granted),
    ]


def _a_busy_state_and_an_empty_one(steps: list[Observed]) -> tuple[Snapshot, Snapshot]:
    busy = next(before for before, *_ in steps if before.receipts)
    empty = next(before for before, *_ in steps if not before.nodes)
    return busy, empty


def test_incremental_checks_equal_full_checks(steps: list[Observed]) -> None:
    """Along legal and corrupted sequences of states alike."""
    choose = RandomChooser(Random(3))
    for seed in RUNS:
        run = list(observed_steps(seed, 25))
        checker = IncrementalChecker(run[0][0])
        previous = run[0][0]
        for _, operation, outcome, after in run:
            state = after
            if choose.chance(30):
                state = CORRUPTIONS[choose.pick(tuple(CORRUPTIONS))](after, choose)
            found = checker.step(operation, outcome, state)
            wanted = check_state(state) + check_step(previous, operation, outcome, state)
            assert sorted(map(str, found)) == sorted(map(str, wanted))
            previous = state
        assert checker.computed <= checker.evaluations


def test_checks_read_only_what_they_say_they_read(steps: list[Observed]) -> None:
    """A field that a check did not read cannot change its verdict."""
    choose = RandomChooser(Random(4))
    for _, _, _, after in steps[::7]:
        corrupted = CORRUPTIONS[choose.pick(tuple(CORRUPTIONS))](after, choose)
        changed = {name for name in View.FIELDS if getattr(after, name) != getattr(corrupted, name)}
        for invariant in STATE_INVARIANTS:
            assert invariant.state_check is not None
            view = View(after)
            wanted = list(invariant.state_check(view))
            if not view.reading & changed and changed:
                assert list(invariant.state_check(View(corrupted))) == wanted


def test_every_operation_has_step_invariants() -> None:
    for cls in OPERATIONS.values():
        own = [i for i in STEP_INVARIANTS[cls] if len(i.operations) <= 4]
        assert own, f"nothing is said about {cls.__name__} in particular"


def test_the_catalogue_is_complete_and_well_formed() -> None:
    numbers = {i.number for i in CATALOGUE.values() if i.number.startswith("I-")}
    assert len(numbers) >= 35
    for slug, invariant in CATALOGUE.items():
        assert slug == slug.lower()
        assert slug.replace("-", "").isalnum()
        for text in (invariant.sentence, invariant.formula, invariant.without_it):
            assert text.strip()
        assert invariant.sentence.endswith(".")
        assert invariant.taught_by


def test_write_back_may_leave_only_locked_backups_of_what_was_regained() -> None:
    """The option of SGLang 0.5.20 to 0.5.22 excuses a backup that holds a lock, and no other."""
    model = ReferenceModel(CacheConfig())
    model.apply(op.Insert((1,)))
    state = model.snapshot()
    config = replace(state.config, write_policy=WRITE_BACK)
    plain = replace(state, config=config)
    excused = replace(plain, options=frozenset({BACKS_UP_WHAT_IS_REGAINED}))
    unlocked = replace(excused, receipts=())
    slug = "write-back-waits-for-its-copies"
    assert [slug in {v.slug for v in check_state(s)} for s in (plain, excused, unlocked)] == [
        True,
        False,
        True,
    ]


def test_what_an_option_promises_is_asked_for_by_option_alone() -> None:
    """Each of these steps is at fault by one rule, and by none where nothing is promised."""
    found = []
    for before, operation, outcome, after in _steps_that_break_an_option():
        found.append(sorted(slugs(check_step(before, operation, outcome, after))))
        plain = [replace(state, options=frozenset()) for state in (before, after)]
        assert not check_step(plain[0], operation, outcome, plain[1])
    assert found == [
        ["a-backed-up-prefix-keeps-its-window-on-the-host"],
        ["a-backup-takes-its-window-along"],
        ["a-backed-up-prefix-keeps-its-state-on-the-host"],
        ["a-request-counts-a-node-once"],
    ]


def test_every_family_is_in_the_catalogue() -> None:
    """A module of rules that nobody imports would check nothing."""
    folder = Path(catalogue.__file__).parent
    stated = {
        ".".join(file.relative_to(folder).with_suffix("").parts)
        for place in ("*.py", "steps/**/*.py")
        for file in folder.glob(place)
        if re.search(
            r"^@(state|step|ranks)_invariant\(", file.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert stated == {i.family for i in CATALOGUE.values()}


def test_an_eviction_may_take_what_its_wait_for_a_backup_unlocked() -> None:
    """The same option: the lock of a pending backup ends within the eviction, and then it goes."""
    model = ReferenceModel(CacheConfig())
    model.apply(op.Insert((1,)))
    before = model.snapshot()
    model.apply(op.Execute(op.WRITE))
    model.apply(op.Observe(op.WRITE))
    operation = op.Evict(1)
    outcome, after = model.apply(operation), model.snapshot()
    config = replace(before.config, write_policy=WRITE_BACK)
    pair = [replace(state, config=config) for state in (before, after)]
    regains = frozenset({BACKS_UP_WHAT_IS_REGAINED})
    excused = [replace(state, options=regains) for state in pair]
    told = [slugs(check_step(b, operation, outcome, a)) for b, a in (pair, excused)]
    for slug in ("locked-device-data-stays", "receipts-change-only-for-their-owner"):
        assert [slug in each for each in told] == [True, False]


@pytest.mark.parametrize("missing", [{"state_slot": None}, {"zero_state": False}], ids=str)
def test_only_batches_may_lend_a_request_its_state_slot_later(missing: dict[str, Any]) -> None:
    """The option of SGLang excuses a request without tokens whose slot is yet to come, or clean."""
    model = ReferenceModel(CacheConfig((FULL, MAMBA), mamba_slots=6, host_mamba_slots=6))
    model.apply(op.Admit("r", (1, 1)))
    state, slug = model.snapshot(), "requests-go-on-from-their-own-state"
    wrong = replace(state, requests=(replace(state.requests[0], **missing),))
    excused = replace(wrong, options=frozenset({BINDS_BY_BATCH}))
    found = [slug in {v.slug for v in check_state(s)} for s in (state, wrong, excused)]
    assert found == [False, True, False]
