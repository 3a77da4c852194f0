"""Copies in flight (domain.md 7.6)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import forall, iff
from radixproof.invariants.proofs.system import Sentence
from radixproof.invariants.proofs.vocabulary import (
    anchor,
    copies,
    device,
    fills,
    flying,
    full,
    g,
    h,
    has,
    holds,
    host,
    k,
    live,
    lock,
    marked,
    ran,
    root,
    target,
    through,
    x,
)

INVARIANTS = (
    Sentence(
        "pending-writes-keep-their-source",
        "What a pending backup copies is on both tiers, and the backup locks it.",
        forall(k, h, x)(
            copies(k, h, x)
            >> (has(k, device, x) & has(k, host, x) & lock(k, device, h, x) & flying(h))
        ),
    ),
    Sentence(
        "write-back-waits-for-its-copies",
        "Under write-back no backup is pending between operations.",
        forall(k, h, x)(copies(k, h, x) >> through()),
    ),
    Sentence(
        "pending-marks-are-exact",
        "A node is marked pending exactly while a backup covers it, with that backup's id.",
        forall(h, x)(iff(marked(h, x), copies(full, h, x))),
    ),
    Sentence(
        "pending-loads-keep-both-ends",
        "A pending load's target is locked on both tiers, and its nodes keep their data.",
        forall(h, x)(
            target(h, x)
            >> (live(x) & x.is_not(root) & anchor(device, h, x) & anchor(host, h, x) & flying(h))
        )
        & forall(k, h, x)(
            fills(k, h, x)
            >> (has(k, device, x) & has(k, host, x) & lock(k, device, h, x) & flying(h))
        ),
    ),
    Sentence(
        "nodes-have-one-transfer-per-direction",
        "A node is in at most one pending backup and the target of at most one pending load.",
        forall(h, g, x)(
            ((copies(full, h, x) & copies(full, g, x)) >> h.is_(g))
            & ((target(h, x) & target(g, x)) >> h.is_(g))
        ),
    ),
    Sentence(
        "copies-go-one-way",
        "No value goes both ways at once; every backup copies FULL; what ran is in flight.",
        forall(k, h, g, x)(
            ~(copies(k, h, x) & fills(k, g, x))
            & (copies(k, h, x) >> copies(full, h, x))
            & (ran(h) >> flying(h))
        )
        & forall(h)(flying(h) >> holds(device, h)),
        helper=True,
    ),
)
