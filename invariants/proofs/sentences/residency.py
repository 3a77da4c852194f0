"""What lies where (domain.md 7.1), said over ancestors; the parent sentences follow as lemmas."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import forall
from radixproof.invariants.proofs.system import Lemma, Sentence
from radixproof.invariants.proofs.vocabulary import (
    device,
    full,
    good,
    has,
    host,
    k,
    live,
    mamba,
    parent,
    root,
    swa,
    t,
    through,
    tiered,
    up,
    uses,
    x,
    y,
)

INVARIANTS = (
    Sentence(
        "backup-is-prefix-closed",
        "Under write-through all ancestors of a backed-up node are backed up.",
        through() >> forall(x, y)((has(full, host, x) & up(x, y)) >> has(full, host, y)),
    ),
    Sentence(
        "host-only-nodes-can-be-reached",
        "All ancestors of an evicted node have FULL data; so has the node, on host.",
        forall(x, y)(
            (live(x) & ~has(full, device, x) & up(x, y))
            >> (has(full, host, x) & (has(full, device, y) | has(full, host, y)))
        ),
    ),
    Sentence(
        "device-data-is-prefix-closed",
        "All ancestors of a device-resident node are device-resident.",
        forall(x, y)((has(full, device, x) & up(x, y)) >> has(full, device, y)),
    ),
    Sentence(
        "nodes-have-data",
        "Every node has FULL data on some tier.",
        forall(x)(live(x) >> (has(full, device, x) | has(full, host, x))),
    ),
    Sentence(
        "swa-data-needs-full-data",
        "SWA data lies on a tier only where FULL data does.",
        forall(t, x)(has(swa, t, x) >> has(full, t, x)),
    ),
    Sentence(
        "states-need-full-data",
        "A state lies on a tier only where its node's FULL data does.",
        forall(t, x)(has(mamba, t, x) >> has(full, t, x)),
    ),
    Sentence(
        "data-is-on-nodes",
        "Only nodes of the tree have data, and only of components and tiers there are.",
        forall(k, t, x)(
            (good(k, t, x) >> has(k, t, x))
            & (has(k, t, x) >> (live(x) & uses(k) & (t.is_(device) | tiered() | x.is_(root))))
        ),
        helper=True,
    ),
    Sentence(
        "the-root-is-resident",
        "The root counts as resident on both tiers, and has nothing but that.",
        forall(k, t)((k.is_(full) >> good(k, t, root)) & (has(k, t, root) >> k.is_(full))),
        helper=True,
    ),
)

LEMMAS = (
    Lemma(
        "backup-is-prefix-closed",
        "Under write-through each backed-up node's parent is backed up.",
        through() >> forall(x, y)((has(full, host, x) & parent(x, y)) >> has(full, host, y)),
    ),
    Lemma(
        "device-data-is-prefix-closed",
        "Each device-resident node's parent is device-resident.",
        forall(x, y)((has(full, device, x) & parent(x, y)) >> has(full, device, y)),
    ),
    Lemma(
        "host-only-never-follows-device-only",
        "Under write-through no host-only node lies below a device-only one.",
        through()
        >> forall(x, y)(
            ~(
                live(x)
                & ~has(full, device, x)
                & up(x, y)
                & has(full, device, y)
                & ~has(full, host, y)
            )
        ),
    ),
)
