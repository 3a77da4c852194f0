"""What a core without node objects does not show, and the invariants that need it.

Which invariants these are is not a matter of opinion: test_hidden.py replaces every hidden value by
one that cannot be read, and whatever then reads it must stand here.
"""

from __future__ import annotations

from radixproof.model.options import HIDES_LOCKS, HIDES_TRACKING
from radixproof.stateful_tests.sglang.difference import Difference

_NO_GETTER = "Rust cores (0.5.19 on)"

HIDDEN = (
    Difference(
        HIDES_TRACKING,
        (
            "device-leaf-set-is-exact",
            "host-leaf-set-is-exact",
            "swa-list-is-exact",
            "swa-host-list-is-exact",
            "mamba-list-is-exact",
            "mamba-host-list-is-exact",
        ),
        "leaf sets and recency lists are not shown",
        _NO_GETTER,
        "the core's own sanity_check; eviction-makes-progress and host-eviction-frees-and-reports",
    ),
    Difference(
        HIDES_TRACKING,
        (
            "a-match-makes-its-path-most-recent",
            "a-match-makes-its-window-and-states-most-recent",
            "only-use-refreshes-recency",
            "what-is-not-used-keeps-its-place",
            "eviction-takes-the-least-recent-leaves",
            "eviction-takes-the-least-recent-of-a-list",
            "a-load-back-takes-the-least-recent-windows",
            "host-eviction-follows-the-strategy",
            "creation-order-never-changes",
            "parents-are-older-and-no-less-urgent",
        ),
        "recency, age and priority of nodes are not shown",
        _NO_GETTER,
        "`radixproof diff` against the Python core: another order evicts another node",
    ),
    Difference(
        HIDES_TRACKING,
        (
            "a-request-counts-a-node-once",
            "an-insert-counts-at-most-one-hit",
            "nothing-is-backed-up-before-its-time",
            "only-inserts-count-hits-and-raise-priorities",
            "an-insert-raises-priorities-on-its-path-only",
        ),
        "hit counts and priorities are not shown",
        _NO_GETTER,
        "`radixproof diff` against the Python core: another count backs up another node",
    ),
    Difference(
        HIDES_TRACKING,
        ("pending-marks-are-exact", "children-have-distinct-labels"),
        "pending marks and the labels of children are not shown",
        _NO_GETTER,
        "pending-writes-keep-their-source; a-match-finds-the-longest-usable-prefix",
    ),
    Difference(
        HIDES_LOCKS,
        (
            "host-lock-counts-are-sums-of-receipts",
            "host-locked-data-stays",
            "an-early-release-that-is-due-is-made",
            "state-locks-never-exceed-window-locks",
        ),
        "host locks, locks of states and how far receipts reach are not shown",
        _NO_GETTER,
        "pending-loads-keep-both-ends",
    ),
    Difference(
        HIDES_LOCKS,
        (
            "lock-counts-are-sums-of-receipts",
            "lock-counts-are-not-negative",
            "a-lock-covers-path-and-window",
            "both-parts-of-a-split-are-held-alike",
            "locked-device-data-stays",
            "nothing-is-held-when-idle",
            "receipts-change-only-for-their-owner",
            "an-unlock-gives-back-its-own-receipt",
            "an-early-release-keeps-the-kv",
            "eviction-spares-everything-else",
            "swa-locks-never-exceed-full-locks",
            "host-eviction-takes-only-what-is-host-only",
            "host-eviction-frees-and-reports",
        ),
        "FULL lock counts, and whether SWA on the device is locked; no host locks, no extents",
        _NO_GETTER,
        "requests-read-their-own-prefix; sizes-add-up",
        in_part=True,
    ),
    Difference(
        HIDES_TRACKING,
        (
            "a-refused-insert-changes-nothing",
            "eviction-makes-progress",
            "evicting-a-backed-up-leaf-demotes-it",
            "executing-changes-nothing-but-bytes",
            "locks-move-no-data",
            "observing-acknowledges-finished-heads",
            "observing-moves-no-data",
            "start-loading-submits-the-queue",
            "a-refused-load-back-leaves-nothing-behind",
            "announcing-a-failure-changes-nothing-else",
            "errors-change-nothing",
            "hits-at-the-threshold-are-backed-up",
        ),
        "what the core shows of the state; no leaf sets, recency and pending marks",
        _NO_GETTER,
        "-",
        in_part=True,
    ),
)
