"""Where releases legally differ from the STRICT profile, and what is therefore not judged.

One table. A rule of the catalogue that a release replaces by another legal one, or that needs
something which the release does not show, is *not checked* there, and every report says so; it is
never counted as held. What guards the same harm instead stands beside it.

An option that an invariant can take into account is in model/options.py and judged; what stands
here is what remains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from radixproof.model.config import WRITE_BACK
from radixproof.model.options import (
    ANCHORED_HOST_LOCKS,
    BACKS_UP_WINDOWS,
    COPIES_LATER_STATES,
    COPIES_LATER_WINDOWS,
    NO_CREATION_TIMES,
    NO_PENDING_MARKS,
    SKIP_SET_LOCKS,
)
from radixproof.stateful_tests.sglang.difference import Difference
from radixproof.stateful_tests.sglang.hidden import HIDDEN

WITHOUT = "without "
"""Before the name of an option: on releases that do not follow it."""

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        WITHOUT + COPIES_LATER_STATES,
        ("a-backed-up-prefix-keeps-its-state-on-the-host",),
        "a state that a backed-up node gains on the device is not copied to the host",
        "until 0.5.17 (U-14); `--promised copies-later-states` judges it (33639)",
        "-",
    ),
    Difference(
        WITHOUT + COPIES_LATER_WINDOWS,
        ("a-backed-up-prefix-keeps-its-window-on-the-host", "a-backup-takes-its-window-along"),
        "SWA that a backed-up node gains on the device is not copied to the host",
        "until 0.5.19 (U-14); `--promised copies-later-windows` judges it (26556)",
        "-",
    ),
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
        BACKS_UP_WINDOWS,
        ("a-backup-takes-all-that-is-on-device",),
        "a node that is backed up is copied again for what it gained since, and only that",
        "since 0.5.18 (10.2, 7)",
        "host-slots-hold-their-prefix; hits-at-the-threshold-are-backed-up",
    ),
    Difference(
        BACKS_UP_WINDOWS,
        (
            "host-eviction-takes-only-what-is-host-only",
            "only-host-eviction-loses-host-data",
            "swa-data-needs-full-data",
            "states-need-full-data",
            "only-what-is-evicted-is-written-back",
        ),
        "host copies of data that is on the device are reclaimed first, and SWA and states of inner"
        " nodes are written back alone",
        "since 0.5.18 (10.2, 7 and 8)",
        "host-slots-have-one-owner, host-slots-hold-their-prefix, nodes-have-data",
        WRITE_BACK,
    ),
    Difference(
        "",
        ("an-insert-counts-at-most-one-hit",),
        "hits are counted under write-back too",
        "since 0.5.13 (10.1, 12)",
        "-",
        WRITE_BACK,
    ),
    Difference(
        ANCHORED_HOST_LOCKS,
        ("host-lock-counts-are-sums-of-receipts", "both-parts-of-a-split-are-held-alike"),
        "a host lock counts FULL on its anchor alone, also after a split",
        "until 0.5.21 (5.8)",
        "host-locked-data-stays; the upper part has a child and is no host leaf",
    ),
    Difference(
        NO_PENDING_MARKS,
        ("pending-marks-are-exact", "an-insert-counts-at-most-one-hit"),
        "nodes do not show which write covers them; hits are counted only with a host tier",
        "until 0.5.12 (10.1, 2 and 12)",
        "hits-at-the-threshold-are-backed-up where there is a host tier",
    ),
    Difference(
        NO_CREATION_TIMES,
        (
            "creation-order-never-changes",
            "parents-are-older-and-no-less-urgent",
            "an-insert-raises-priorities-on-its-path-only",
        ),
        "nodes do not remember when they were made, and have no priority",
        "until 0.5.12 (10.1, 12)",
        "-",
    ),
    Difference(
        SKIP_SET_LOCKS,
        (
            "lock-counts-are-sums-of-receipts",
            "host-lock-counts-are-sums-of-receipts",
            "a-lock-covers-path-and-window",
            "both-parts-of-a-split-are-held-alike",
            "swa-locks-never-exceed-full-locks",
        ),
        "a lock counts only nodes that have data, up to a window of data, and remembers the rest",
        "until 0.5.19 (5.7, COMPAT; U-2)",
        "locked-device-data-stays and requests-read-their-own-prefix see a stolen lock",
    ),
    Difference(
        "",
        ("device-slots-hold-their-prefix",),
        "on a decode server SWA is not judged, only FULL and states: it has SWA slots before the"
        " window that it is sent",
        "all releases, in prefill-decode disaggregation",
        "requests-read-their-own-prefix judges the windows that are read",
        in_part=True,
        decode_server=True,
    ),
    Difference(
        "",
        ("an-admission-reports-what-a-match-would",),
        "a decode server asks for what it will not be sent, by a rule of its own",
        "all releases, in prefill-decode disaggregation",
        "an-admitted-request-holds-its-prefix, device-slots-have-one-owner",
        decode_server=True,
    ),
    *HIDDEN,
)


def unjudged(options: Iterable[str], policy: str) -> Mapping[str, str]:
    """Slug -> why it is not checked under a policy, on a release that follows these options."""
    return {
        slug: f"{d.rule} ({d.source})"
        for d in differences(options)
        if d.policy in (None, policy) and not d.in_part
        for slug in d.slugs
    }


def not_checked(options: Iterable[str], *, decode_server: bool = False) -> Mapping[str, str]:
    """All of a release, or of its decode server; what applies to one policy alone says so."""
    return _told(d for d in differences(options, decode_server=decode_server) if not d.in_part)


def in_part(options: Iterable[str], *, decode_server: bool = False) -> Mapping[str, str]:
    """What is judged as far as its state is shown; never what is not judged at all."""
    whole = not_checked(options, decode_server=decode_server)
    told = _told(d for d in differences(options, decode_server=decode_server) if d.in_part)
    return {slug: why for slug, why in told.items() if slug not in whole}


def _told(applying: Iterable[Difference]) -> dict[str, str]:
    told: dict[str, str] = {}
    for d in applying:
        where = f"under {d.policy}: " if d.policy else ""
        for slug in d.slugs:
            told.setdefault(slug, f"{where}{d.rule} ({d.source})")
    return told


def differences(options: Iterable[str], *, decode_server: bool = False) -> list[Difference]:
    there = {*options, ""}
    lacking = {d.option for d in DIFFERENCES if d.option.startswith(WITHOUT)}
    there |= {option for option in lacking if option.removeprefix(WITHOUT) not in there}
    return [d for d in DIFFERENCES if d.option in there and d.decode_server <= decode_server]
