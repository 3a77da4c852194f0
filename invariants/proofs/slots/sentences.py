"""One owner a slot, and a map that leads where the data is (domain.md 7.4)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import exists, forall
from radixproof.invariants.proofs.slots.vocabulary import (
    a,
    b,
    c,
    d,
    free,
    full_at,
    host_at,
    host_free,
    leads,
    owned,
    p,
    q,
    reads,
    resident,
    row,
    swa_at,
    v,
    w,
    window_free,
    x,
    y,
)
from radixproof.invariants.proofs.system import Sentence

INVARIANTS = (
    Sentence(
        "device-slots-have-one-owner",
        "Every device slot is free, or one token's, or one request position's, and only one's.",
        forall(x)(free(x) | exists(c)(full_at(c, x)) | exists(p)(row(p, x) & owned(p)))
        & forall(x, c, d, p, q)(
            ~(free(x) & (full_at(c, x) | (row(p, x) & owned(p))))
            & ~(full_at(c, x) & row(p, x) & owned(p))
            & ((full_at(c, x) & full_at(d, x)) >> c.is_(d))
            & ((row(p, x) & row(q, x) & owned(p) & owned(q)) >> p.is_(q))
        )
        & forall(w)(
            window_free(w)
            | exists(c)(swa_at(c, w))
            | exists(p, x)(row(p, x) & owned(p) & leads(x, w))
        )
        & forall(w, c, d, p, x)(
            ~(window_free(w) & (swa_at(c, w) | (row(p, x) & owned(p) & leads(x, w))))
            & ~(swa_at(c, w) & row(p, x) & owned(p) & leads(x, w))
            & ((swa_at(c, w) & swa_at(d, w)) >> c.is_(d))
        ),
    ),
    Sentence(
        "host-slots-have-one-owner",
        "Every host slot is free or one token's, and only one's.",
        forall(a)(host_free(a) | exists(c)(host_at(c, a)))
        & forall(a, c, d)(
            ~(host_free(a) & host_at(c, a)) & ((host_at(c, a) & host_at(d, a)) >> c.is_(d))
        ),
    ),
    Sentence(
        "map-agrees-with-live-swa-data",
        "The map leads from a token's FULL slot to the SWA slot that it owns.",
        forall(c, x, w)((full_at(c, x) & swa_at(c, w)) >> leads(x, w)),
    ),
    Sentence(
        "tombstones-are-unmapped",
        "A token without SWA data has a FULL slot that leads nowhere.",
        forall(c, x, w)((full_at(c, x) & leads(x, w)) >> swa_at(c, w)),
    ),
    Sentence(
        "free-slots-are-unmapped",
        "A free FULL slot leads nowhere, and nothing leads to a free SWA slot.",
        forall(x, w)(leads(x, w) >> (~free(x) & ~window_free(w))),
    ),
    Sentence(
        "requests-read-their-own-prefix",
        "A position that the tree has lent reads the slot that the tree's token has now.",
        forall(p, c, x)((reads(p, c) & full_at(c, x)) >> (row(p, x) & ~owned(p))),
    ),
    Sentence(
        "data-is-on-resident-tokens",
        "Who has a slot, an SWA slot or a reader has FULL data on the device.",
        forall(c, x, w, p)((full_at(c, x) | swa_at(c, w) | reads(p, c)) >> resident(c)),
        helper=True,
    ),
    Sentence(
        "values-are-single",
        "A token has one slot a pool, a position one slot and one token, the map is one to one.",
        forall(c, x, y)((full_at(c, x) & full_at(c, y)) >> x.is_(y))
        & forall(c, w, v)((swa_at(c, w) & swa_at(c, v)) >> w.is_(v))
        & forall(c, a, b)((host_at(c, a) & host_at(c, b)) >> a.is_(b))
        & forall(p, x, y)((row(p, x) & row(p, y)) >> x.is_(y))
        & forall(p, c, d)((reads(p, c) & reads(p, d)) >> c.is_(d))
        & forall(p, c)(owned(p) >> ~reads(p, c))
        & forall(x, w, v)((leads(x, w) & leads(x, v)) >> w.is_(v))
        & forall(x, y, w)((leads(x, w) & leads(y, w)) >> x.is_(y)),
        helper=True,
    ),
)
