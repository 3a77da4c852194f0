"""The right bytes (domain.md 7.7): those of the prefix, unless a copy has yet to bring them."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import exists, forall
from radixproof.invariants.proofs.system import Sentence
from radixproof.invariants.proofs.vocabulary import (
    copies,
    device,
    fills,
    good,
    h,
    has,
    host,
    k,
    ran,
    root,
    x,
)

INVARIANTS = (
    Sentence(
        "device-slots-hold-their-prefix",
        "A device value holds its prefix, unless a load has yet to run.",
        forall(k, x)(
            (has(k, device, x) & x.is_not(root))
            >> (good(k, device, x) | exists(h)(fills(k, h, x) & ~ran(h)))
        ),
    ),
    Sentence(
        "host-slots-hold-their-prefix",
        "A host value holds its prefix, unless a backup has yet to run.",
        forall(k, x)(
            (has(k, host, x) & x.is_not(root))
            >> (good(k, host, x) | exists(h)(copies(k, h, x) & ~ran(h)))
        ),
    ),
)
