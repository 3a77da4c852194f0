"""Rules that were argued for in the review of upstream PR 25065, as switches of the specification.

None is part of the specification; docs/decisions/ says what each costs. domain.md 12, U-28.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """All off: the specification."""

    path_under_write_back: bool = False
    """The guard on the policy is dropped: write-back, too, backs up unbacked ancestors first."""
    backup_in_split: bool = False
    """A split backs up its upper part; a backup below an unbacked parent is skipped."""


THE_RULES = Rules()
