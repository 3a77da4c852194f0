"""Nothing that must still be found is lost (domain.md 7.7, I-38)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import forall
from radixproof.invariants.proofs.system import Sentence
from radixproof.invariants.proofs.vocabulary import (
    excused,
    full,
    has,
    host,
    live,
    reached,
    root,
    through,
    tiered,
    x,
)

INVARIANTS = (
    Sentence(
        "hits-at-the-threshold-are-backed-up",
        "A node whose hits reached the threshold is backed up, unless the host had no room.",
        forall(x)((reached(x) & ~excused(x)) >> has(full, host, x)),
    ),
    Sentence(
        "hits-are-counted-on-nodes",
        "Only nodes have hits, and only write-through with a host tier counts them.",
        forall(x)(
            (reached(x) >> (live(x) & x.is_not(root) & through() & tiered()))
            & (excused(x) >> reached(x))
        ),
        helper=True,
    ),
)
