"""What a check reports: which rule is broken, and the nodes and slots at fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where a rule is broken, as the rule's own function sees it.

    ``nodes`` are indices into the (after) snapshot's nodes, ``slots`` pairs (pool, slot).
    """

    message: str
    nodes: tuple[int, ...] = ()
    slots: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """A fault together with the invariant it breaks."""

    slug: str
    number: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.slug} ({self.number}): {self.fault.message}"
