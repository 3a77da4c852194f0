"""Where releases legally differ from the STRICT profile, and what is therefore not judged.

One table. A rule of the catalogue that a release replaces by another legal one, or that needs
something which the release does not show, is *not checked* there, and every report says so; it is
never counted as held. What guards the same harm instead stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """``feature``: a name of ``Release.features``, or "" for every release."""

    feature: str
    slugs: tuple[str, ...]
    rule: str
    """What the release does, or does not show."""
    source: str
    """Since when, and where in the specification."""
    instead: str
    """What still catches the harm."""


DIFFERENCES = (
    Difference(
        "",
        ("caching-reports-what-the-tree-had",),
        "prefill and finish do not report the length that their insert found",
        "all releases: `cache_unfinished_req` and `checkpoint` return nothing",
        "device-slots-have-one-owner and requests-read-their-own-prefix see a wrong one",
    ),
    Difference(
        "",
        ("sliding-frees-only-what-left-the-window", "sliding-frees-all-that-left-the-window"),
        "the frontier of a sliding window is the release's own; what it freed is not reported",
        "margin W + page until 0.5.17, max(W, page) in whole pages later (6.9)",
        "requests-read-their-own-prefix: the window of a running request is intact",
    ),
    Difference(
        "skip-set-locks",
        (
            "lock-counts-are-sums-of-receipts",
            "host-lock-counts-are-sums-of-receipts",
            "a-lock-covers-path-and-window",
            "both-parts-of-a-split-are-held-alike",
            "swa-locks-are-within-full-locks",
        ),
        "a lock counts only nodes that have data, up to a window of data, and remembers the rest",
        "until 0.5.19 (5.7, COMPAT; U-2)",
        "locked-device-data-stays and requests-read-their-own-prefix see a stolen lock",
    ),
    Difference(
        "unpinned-loads",
        ("pending-loads-keep-both-ends", "a-load-back-makes-its-target-usable"),
        "a load-back takes no host lock on its source",
        "until 0.5.13 (6.8.1, COMPAT; U-7)",
        "device-slots-hold-their-prefix sees what was loaded from a source that was freed",
    ),
    Difference(
        "unpinned-loads",
        ("observing-acknowledges-finished-heads",),
        "an acknowledged load ends one receipt, not two",
        "until 0.5.13 (6.8.1, COMPAT; U-7)",
        "an idle cache has no locks left",
    ),
    Difference(
        "aux-backup-later",
        ("pending-writes-keep-their-source",),
        "a node that is backed up already is copied again for what it gained since, and a backup"
        " takes along the window above it",
        "since 0.5.18 (10.2, 7)",
        "host-slots-hold-their-prefix and host-slots-have-one-owner",
    ),
    Difference(
        "slides-in-prefill",
        ("a-running-request-changes-only-as-it-proceeds",),
        "caching a chunk also slides the request's window",
        "default since 0.5.18, a flag since 0.5.14 (10.2, 6)",
        "requests-read-their-own-prefix",
    ),
    Difference(
        "stops-at-branches",
        ("a-prefilled-chunk-is-cached-and-held",),
        "an insert of a running request may stop at a branching point of the SWA cache",
        "since 0.5.20 (10.2, 11)",
        "requests-read-their-own-prefix and device-slots-have-one-owner",
    ),
    Difference(
        "chunks-count-hits",
        ("an-insert-counts-at-most-one-hit",),
        "chunks count hits, each request once a node",
        "since 0.5.22 (10.2, 10)",
        "hits-at-the-threshold-are-backed-up judges by the count that the node shows",
    ),
    Difference(
        "splits-at-prompt",
        ("an-insert-raises-priorities-on-its-path-only",),
        "a full-attention-only tree splits the leaf at the prompt's end, with one more priority",
        "since 0.5.20 (10.2, 10)",
        "-",
    ),
)


def unjudged(features: Iterable[str]) -> Mapping[str, str]:
    """Slug -> why it is not checked on a release with these features."""
    there = set(features) | {""}
    return {
        slug: f"{d.rule} ({d.source})"
        for d in DIFFERENCES
        if d.feature in there
        for slug in d.slugs
    }
