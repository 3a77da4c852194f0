"""Everything that is proved: the forest of nodes, and the slots of single tokens."""

from __future__ import annotations

from radixproof.invariants.proofs.obligations import known
from radixproof.invariants.proofs.slots.theory import SLOTS
from radixproof.invariants.proofs.theory import THEORY

THEORIES = {"forest": THEORY, "slots": SLOTS}
"""Name -> theory."""


def proved() -> list[str]:
    """Every slug of the catalogue that something is proved of, and every helper."""
    return list(dict.fromkeys(slug for theory in THEORIES.values() for slug in known(theory)))
