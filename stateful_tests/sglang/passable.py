"""Wrong steps that a walk may go past once they are known.

Each of these says that something was lost, kept, ordered or reported wrongly. What the step leaves
behind is a state like any other, if all state invariants hold in it, and what breaks from there on
is another defect. Steps that touch what somebody else holds are not here: their harm comes later,
under other names. Without going past, the most frequent defect of a release hides all the rest.
"""

from __future__ import annotations

from radixproof.invariants.catalogue import CATALOGUE, STATE
from radixproof.stateful_tests.verdict import Finding

LOST = (
    "an-inserted-key-is-on-device",
    "a-finished-request-is-cached",
    "an-insert-recovers-swa-inside-the-window",
    "hits-at-the-threshold-are-backed-up",
    "a-backup-takes-all-that-is-on-device",
    "a-backed-up-prefix-keeps-its-window-on-the-host",
    "a-backed-up-prefix-keeps-its-state-on-the-host",
    "a-backup-takes-its-window-along",
    "evicting-a-backed-up-leaf-demotes-it",
    "write-back-loses-nothing-with-room",
    "a-load-back-with-room-evicts-nothing",
    "a-match-finds-the-longest-usable-prefix",
    "an-admission-reports-what-a-match-would",
)
KEPT = (
    "a-fresh-leaf-covers-one-window",
    "nothing-is-backed-up-before-its-time",
    "eviction-makes-progress",
    "a-load-back-respects-its-quota",
)
ORDERED = (
    "a-match-makes-its-path-most-recent",
    "a-match-makes-its-window-and-states-most-recent",
    "what-is-not-used-keeps-its-place",
    "only-use-refreshes-recency",
    "creation-order-never-changes",
    "eviction-takes-the-least-recent-leaves",
    "eviction-takes-the-least-recent-of-a-list",
    "a-load-back-takes-the-least-recent-windows",
    "host-eviction-follows-the-strategy",
    "an-insert-counts-at-most-one-hit",
    "only-inserts-count-hits-and-raise-priorities",
    "an-insert-raises-priorities-on-its-path-only",
)
REPORTED = (
    "an-insert-reports-what-the-tree-had",
    "eviction-reports-what-it-freed",
    "host-eviction-frees-and-reports",
    "a-load-back-reports-what-it-moves",
    "a-lock-reports-what-it-protects",
    "a-request-is-told-how-far-it-is",
    "events-tell-what-is-resident",
    "stored-blocks-have-their-parents",
)
REFUSED = ("tokens-that-fit-are-not-refused", "a-load-back-that-fits-is-not-refused")
APART = (
    "observing-acknowledges-finished-heads",
    "ranks-do-as-much",
    "ranks-have-the-same-tree",
    "ranks-hold-the-same-data",
    "ranks-hold-the-same-locks",
    "ranks-evict-in-the-same-order",
    "ranks-await-the-same-copies",
)
"""Each rank is in a good state of its own, and no request has been told anything different yet."""
PASSABLE = frozenset((*LOST, *KEPT, *ORDERED, *REPORTED, *REFUSED, *APART))


def passable(finding: Finding) -> bool:
    """Whether only the step is at fault."""
    return finding.slug in PASSABLE and CATALOGUE[finding.slug].kind != STATE
