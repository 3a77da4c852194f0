"""A lock count is the receipts that cover the node (domain.md 7.2). Counts are sets of holders."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Formula, Term, forall
from radixproof.invariants.proofs.receipts import on_path
from radixproof.invariants.proofs.system import Lemma, Sentence
from radixproof.invariants.proofs.vocabulary import (
    anchor,
    device,
    edge,
    flying,
    full,
    h,
    has,
    holds,
    host,
    k,
    live,
    lock,
    mamba,
    marked,
    root,
    stale,
    swa,
    t,
    takes,
    target,
    through,
    tiered,
    up,
    uses,
    x,
    y,
    z,
)


def counts_are_receipts(tier: Term) -> Formula:
    """h counts on x exactly if h's receipt covers x: from its anchor up to its edge."""
    return forall(k, h, x, y)(
        lock(k, tier, h, x)
        >> (
            takes(k, tier, h) & (anchor(tier, h, y) >> up(y, x)) & (edge(k, tier, h, y) >> up(x, y))
        )
    ) & forall(k, h, x, y, z)(
        (anchor(tier, h, x) & edge(k, tier, h, z) & on_path(x, z, y)) >> lock(k, tier, h, y)
    )


INVARIANTS = (
    Sentence(
        "lock-counts-are-sums-of-receipts",
        "A node's device lock counts are the live receipts that cover it.",
        counts_are_receipts(device),
    ),
    Sentence(
        "host-lock-counts-are-sums-of-receipts",
        "A node's host lock counts are the live host receipts that cover it.",
        counts_are_receipts(host),
    ),
    Sentence(
        "full-locks-are-upward-closed",
        "Whoever locks a node's FULL data on device locks that of all its ancestors.",
        forall(h, x, y)(
            (lock(full, device, h, x) & up(x, y) & y.is_not(root)) >> lock(full, device, h, y)
        ),
    ),
    Sentence(
        "swa-locks-never-exceed-full-locks",
        "Whoever locks a node's SWA data on device locks its FULL data.",
        forall(h, x)(lock(swa, device, h, x) >> lock(full, device, h, x)),
    ),
    Sentence(
        "state-locks-never-exceed-window-locks",
        "Whoever locks a state locks the window that it needs, on device the FULL data, too.",
        forall(t, h, x)(
            lock(mamba, t, h, x)
            >> ((uses(swa) >> lock(swa, t, h, x)) & (t.is_(device) >> lock(full, t, h, x)))
        ),
    ),
    Sentence(
        "locked-device-data-stays",
        "No device value was dropped or moved under a lock.",
        forall(k, h, x)(~stale(k, device, h, x)),
    ),
    Sentence(
        "host-locked-data-stays",
        "No host value was dropped or moved under a host lock.",
        forall(k, h, x)(~stale(k, host, h, x)),
    ),
    Sentence(
        "receipts-refer-to-nodes-in-the-tree",
        "Every live receipt's anchor is in the tree.",
        forall(t, h, x)(anchor(t, h, x) >> live(x)),
    ),
    Sentence(
        "receipts-are-live",
        "An anchor, an extent and an edge belong to a receipt.",
        forall(k, t, h, x)(
            (anchor(t, h, x) >> holds(t, h))
            & (takes(k, t, h) >> holds(t, h))
            & (edge(k, t, h, x) >> takes(k, t, h))
        ),
        helper=True,
    ),
    Sentence(
        "receipts-have-one-anchor-and-edge",
        "A receipt has one anchor and, per component, one edge above it; of MAMBA they are one.",
        forall(k, t, h, x, y)(
            ((anchor(t, h, x) & anchor(t, h, y)) >> x.is_(y))
            & ((edge(k, t, h, x) & edge(k, t, h, y)) >> x.is_(y))
            & ((anchor(t, h, x) & edge(k, t, h, y)) >> up(x, y))
            & ((k.is_(mamba) & anchor(t, h, x) & edge(k, t, h, y)) >> x.is_(y))
        ),
        helper=True,
    ),
    Sentence(
        "locks-are-on-nodes",
        "Locks and edges are on nodes of the tree, locks not on the root.",
        forall(k, t, h, x)(
            (lock(k, t, h, x) >> (live(x) & x.is_not(root)))
            & (edge(k, t, h, x) >> (live(x) & (x.is_(root) | lock(k, t, h, x))))
        ),
        helper=True,
    ),
    Sentence(
        "host-locks-are-on-backed-up-nodes",
        "Under write-through a host-locked node is backed up, or its load locks it on device, too.",
        forall(k, h, x)(
            lock(k, host, h, x)
            >> (
                tiered()
                & (through() >> (has(full, host, x) | (lock(full, device, h, x) & flying(h))))
            )
        ),
        helper=True,
    ),
    Sentence(
        "anchors-are-locked",
        "A device receipt counts on its anchor, so does a client's host receipt.",
        forall(h, x)(
            ((anchor(device, h, x) & x.is_not(root)) >> lock(full, device, h, x))
            & (anchor(host, h, x) >> (lock(full, host, h, x) | target(h, x)))
            & (lock(full, host, h, x) >> has(full, host, x))
        ),
        helper=True,
    ),
)

LEMMAS = (
    Lemma(
        "nothing-is-held-when-idle",
        "Without receipts and copies no node is locked or marked.",
        (forall(t, h)(~holds(t, h)) & forall(h)(~flying(h)))
        >> forall(k, t, h, x)(~lock(k, t, h, x) & ~marked(h, x)),
    ),
)
