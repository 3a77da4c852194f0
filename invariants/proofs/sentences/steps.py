"""What no state shows: what a step may do (the catalogue's step invariants at this level)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import after, forall
from radixproof.invariants.proofs.receipts import nobody_above
from radixproof.invariants.proofs.system import StepSentence
from radixproof.invariants.proofs.vocabulary import (
    device,
    excused,
    full,
    h,
    has,
    host,
    k,
    live,
    lock,
    short,
    t,
    up,
    x,
    y,
    z,
)

STEPS = (
    StepSentence(
        "hits-at-the-threshold-are-backed-up",
        "A backup is refused only if the host has no room for the topmost unbacked ancestor.",
        forall(x, y)(
            (
                ~excused(x)
                & after(excused(x))
                & up(x, y)
                & ~has(full, host, y)
                & nobody_above(y, ~has(full, host, z))
            )
            >> short(y)
        ),
        exempt=("split",),
    ),
    StepSentence(
        "only-host-eviction-loses-host-data",
        "What is on host stays there until a host eviction or a reset takes it.",
        forall(k, x)(has(k, host, x) >> after(has(k, host, x))),
        exempt=("evict-host", "drop-host", "reset"),
    ),
    StepSentence(
        "host-eviction-takes-only-what-is-host-only",
        "Host data that a step takes was on host only, and nobody held it.",
        forall(k, h, x)(
            (has(k, host, x) & ~after(has(k, host, x)))
            >> (~has(k, device, x) & ~lock(k, host, h, x))
        ),
        exempt=("reset",),
    ),
    StepSentence(
        "evicting-a-backed-up-leaf-demotes-it",
        "A node on both tiers stays in the tree, backed up, whatever device eviction takes.",
        forall(x)(
            (has(full, device, x) & has(full, host, x)) >> after(live(x) & has(full, host, x))
        ),
        exempt=("reset",),
    ),
    StepSentence(
        "only-device-eviction-loses-device-data",
        "What is on device stays there until a device eviction or a reset takes it.",
        forall(k, x)(has(k, device, x) >> after(has(k, device, x))),
        exempt=("demote", "delete", "tombstone", "reset"),
    ),
    StepSentence(
        "only-eviction-removes-nodes",
        "Nodes leave the tree by eviction and reset only.",
        forall(x)(live(x) >> after(live(x))),
        exempt=("delete", "evict-host", "reset"),
    ),
    StepSentence(
        "locks-move-no-data",
        "Whatever somebody locks before and after a step is where it was.",
        forall(k, t, h, x)(
            (lock(k, t, h, x) & has(k, t, x) & after(lock(k, t, h, x))) >> after(has(k, t, x))
        ),
    ),
)
