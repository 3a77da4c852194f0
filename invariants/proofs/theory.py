"""All of it together: the theory that is proved."""

from __future__ import annotations

from radixproof.invariants.proofs.sentences import (
    data,
    locks,
    loss,
    residency,
    steps,
    structure,
    transfers,
)
from radixproof.invariants.proofs.system import Theory
from radixproof.invariants.proofs.transitions import (
    backup,
    eviction,
    insertion,
    loading,
    locking,
    reset,
    tree,
)
from radixproof.invariants.proofs.transitions import transfers as moments
from radixproof.invariants.proofs.vocabulary import SIGNATURE, full, uses

THEORY = Theory(
    signature=SIGNATURE,
    axioms=(uses(full),),
    initial=reset.INITIAL,
    transitions=(
        *tree.TRANSITIONS,
        *insertion.TRANSITIONS,
        *backup.TRANSITIONS,
        *eviction.TRANSITIONS,
        *loading.TRANSITIONS,
        *moments.TRANSITIONS,
        *locking.TRANSITIONS,
        *reset.TRANSITIONS,
    ),
    invariants=(
        *structure.INVARIANTS,
        *residency.INVARIANTS,
        *locks.INVARIANTS,
        *transfers.INVARIANTS,
        *data.INVARIANTS,
        *loss.INVARIANTS,
    ),
    steps=steps.STEPS,
    lemmas=(*residency.LEMMAS, *locks.LEMMAS),
)
