"""Every rule of the storage tier is false on a wrong state or step, and true on the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from radixproof.invariants.catalogue import CATALOGUE, STATE, STEP
from radixproof.invariants.checker import check_state, check_step
from radixproof.model import operations as op
from radixproof.model.config import FULL
from radixproof.model.outcome import Outcome, ok, refused
from radixproof.model.snapshot import DETACHED, ROOT, Snapshot
from radixproof.model.storage import READ, WRITE_PAGES
from radixproof.model.storage_operations import (
    BeginPrefetch,
    CheckPrefetch,
    LosePages,
    PollStorage,
    StorageWork,
)
from radixproof.stateful_tests.tests.storage_states import (
    busy,
    plain,
    prefetch_of,
    with_pool,
    with_storage,
)

Change = Callable[[Snapshot], Snapshot]
BUSY, PLAIN = busy(), plain()
NAMES = BUSY.storage.hashes[0] or () if BUSY.storage else ()


def _spoil_slot(state: Snapshot, x: int) -> Snapshot:
    contents = list(state.pools["host_full"].contents)
    contents[x] = 77
    return with_pool(state, "host_full", contents=tuple(contents))


def _prefetch(state: Snapshot, **changes: object) -> Snapshot:
    changed = replace(prefetch_of(state), **changes)  # type: ignore[arg-type]
    return with_storage(state, prefetches=(changed,))


def _backup(state: Snapshot, **changes: object) -> Snapshot:
    assert state.storage is not None
    changed = replace(state.storage.backups[0], **changes)  # type: ignore[arg-type]
    return with_storage(state, backups=(changed,))


def _in_a_namespace(state: Snapshot) -> Snapshot:
    return replace(state, nodes=(replace(state.nodes[0], namespace="x"),))


WRONG_STATES: tuple[tuple[str, Change], ...] = (
    ("page-hashes-are-those-of-the-prefix", lambda s: with_storage(s, hashes=(NAMES[::-1],))),
    ("page-hashes-are-those-of-the-prefix", lambda s: with_storage(s, hashes=(NAMES[1:],))),
    ("page-hashes-are-those-of-the-prefix", lambda s: with_storage(s, hashes=(None,))),
    ("page-hashes-are-those-of-the-prefix", _in_a_namespace),
    (
        "stored-pages-hold-the-prefix-of-their-hash",
        lambda s: with_storage(s, pages={FULL: {NAMES[2]: (77,)}}),
    ),
    (
        "prefetched-pages-hold-their-prefix",
        lambda s: _spoil_slot(s, prefetch_of(s).slots[FULL][0]),
    ),
    ("prefetches-count-while-they-last", lambda s: with_storage(s, occupied=4)),
    ("writes-to-the-store-keep-their-source", lambda s: _backup(s, node=DETACHED)),
    ("writes-to-the-store-keep-their-source", lambda s: _backup(s, slots={FULL: (5, 6, 7, 8)})),
    ("nothing-is-stuck-between-host-and-store", lambda s: with_storage(s, work={})),
    (
        "nothing-is-stuck-between-host-and-store",
        lambda s: replace(with_storage(s, work={}, backups=()), candidates=()),
    ),
    (
        "nothing-is-stuck-between-host-and-store",
        lambda s: with_storage(s, work={}, backups=(), releasing={FULL: (9,)}),
    ),
    ("host-slots-have-one-owner", lambda s: _prefetch(s, slots={})),
    ("host-slots-have-one-owner", lambda s: with_storage(s, releasing={FULL: (0,)})),
    ("host-lock-counts-are-sums-of-receipts", lambda s: replace(s, receipts=s.receipts[:-1])),
)


def test_the_right_states_are_right() -> None:
    assert check_state(BUSY) == []
    assert check_state(PLAIN) == []


@pytest.mark.parametrize(
    ("slug", "change"), WRONG_STATES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_a_wrong_state_is_noticed(slug: str, change: Change) -> None:
    assert slug in {v.slug for v in check_state(change(BUSY))}


def _landed_nothing() -> Snapshot:
    """The prefetch is over, its lock and its buffer are back, and the tree is as before."""
    nodes = (replace(BUSY.nodes[0], full=replace(BUSY.nodes[0].full, host_lock=1)),)
    free = (*prefetch_of(BUSY).slots[FULL], *BUSY.pools["host_full"].free_pages)
    state = with_storage(with_pool(BUSY, "host_full", free_pages=free), prefetches=(), occupied=0)
    return replace(state, nodes=nodes, receipts=BUSY.receipts[:-1])


LANDED_NOTHING = _landed_nothing()
R1, WORK = CheckPrefetch("r1"), StorageWork(READ)
STUCK = with_storage(BUSY, work={}, news=0)
SHORT = with_storage(BUSY, capacity=0)
WRONG_STEPS: tuple[tuple[str, Snapshot, op.Operation, Outcome, Snapshot], ...] = (
    ("a-prefetch-begins-whole-or-not-at-all", PLAIN, BeginPrefetch("r1"), ok(prefetching=0), BUSY),
    ("a-prefetch-begins-whole-or-not-at-all", PLAIN, BeginPrefetch("r1"), ok(prefetching=2), BUSY),
    (
        "a-prefetch-begins-whole-or-not-at-all",
        with_storage(PLAIN, capacity=0),
        BeginPrefetch("r1"),
        ok(prefetching=3),
        SHORT,
    ),
    (
        "a-prefetch-begins-whole-or-not-at-all",
        PLAIN,
        BeginPrefetch("r1"),
        ok(prefetching=0),
        replace(BUSY, storage=PLAIN.storage),
    ),
    *(
        (
            "a-prefetch-begins-where-its-anchor-ends",
            PLAIN,
            BeginPrefetch("r1"),
            ok(prefetching=3),
            _prefetch(BUSY, **wrong),
        )
        for wrong in (
            {"start": 3},
            {"anchor": ROOT},
            {"tokens": (9, *prefetch_of(BUSY).tokens[1:])},
        )
    ),
    ("a-prefetch-is-waited-for-while-it-can-go-on", STUCK, R1, refused("waits"), STUCK),
    ("a-prefetch-is-waited-for-while-it-can-go-on", BUSY, R1, refused("waits"), LANDED_NOTHING),
    ("what-a-prefetch-brought-is-found", BUSY, R1, ok(from_storage=0), LANDED_NOTHING),
    (
        "what-a-prefetch-brought-is-found",
        BUSY,
        PollStorage(),
        ok(prefetches=1, backups=0),
        LANDED_NOTHING,
    ),
    ("an-abort-gives-up-the-prefetch", BUSY, op.Abort("r1"), ok(), BUSY),
    ("workers-touch-only-what-they-were-given", BUSY, WORK, ok(), _spoil_slot(BUSY, 0)),
    (
        "workers-touch-only-what-they-were-given",
        BUSY,
        StorageWork(WRITE_PAGES),
        ok(),
        _spoil_slot(BUSY, prefetch_of(BUSY).slots[FULL][1]),
    ),
    (
        "workers-touch-only-what-they-were-given",
        BUSY,
        WORK,
        ok(),
        with_pool(BUSY, "host_full", free_pages=BUSY.pools["host_full"].free_pages[1:]),
    ),
    (
        "stored-pages-never-change",
        BUSY,
        StorageWork(WRITE_PAGES),
        ok(),
        with_storage(BUSY, pages={FULL: dict.fromkeys(NAMES, (77,))}),
    ),
    ("stored-pages-never-change", BUSY, PollStorage(), ok(), with_storage(BUSY, pages={})),
    ("a-poll-reports-what-ended", BUSY, PollStorage(), ok(prefetches=1, backups=0), BUSY),
    (
        "a-poll-reports-what-ended",
        with_storage(BUSY, backups=()),
        PollStorage(),
        ok(prefetches=0, backups=-1),
        BUSY,
    ),
    (
        "receipts-change-only-for-their-owner",
        BUSY,
        WORK,
        ok(),
        replace(BUSY, receipts=BUSY.receipts[:-1]),
    ),
    (
        "data-appears-only-where-it-is-copied-or-computed",
        replace(BUSY, nodes=(replace(BUSY.nodes[0], full=replace(BUSY.nodes[0].full, host=None)),)),
        PollStorage(),
        ok(),
        BUSY,
    ),
)


@pytest.mark.parametrize("wrong", WRONG_STEPS, ids=lambda w: f"{w[0]} in {type(w[2]).__name__}")
def test_a_wrong_step_is_noticed(
    wrong: tuple[str, Snapshot, op.Operation, Outcome, Snapshot],
) -> None:
    slug, before, operation, outcome, after = wrong
    assert slug in {v.slug for v in check_step(before, operation, outcome, after)}


def test_right_steps_are_right() -> None:
    """A read into its own buffer; a store that loses pages; a wait while somebody works; a start
    where the anchor ends.
    """
    begun = check_step(PLAIN, BeginPrefetch("r1"), ok(prefetching=3), BUSY)
    assert "a-prefetch-begins-where-its-anchor-ends" not in {v.slug for v in begun}
    read = _spoil_slot(BUSY, prefetch_of(BUSY).slots[FULL][1])
    lost = with_storage(BUSY, pages={FULL: {}})
    for operation, outcome, after in (
        (WORK, ok(), read),
        (LosePages(9), ok(), lost),
        (R1, refused("waits"), BUSY),
    ):
        assert check_step(BUSY, operation, outcome, after) == []


def test_no_rule_of_the_tier_is_without_a_wrong_case() -> None:
    shown = {slug for slug, *_ in (*WRONG_STATES, *WRONG_STEPS)}
    families = {"storage": STATE, "steps.storage": STEP}
    stated = {i.slug for i in CATALOGUE.values() if i.family in families}
    assert stated <= shown
