"""What a run found: nothing, or one state in which something does not hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from radixproof.invariants.violation import Violation
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace

AGREEMENT = "agreement-with-the-model"
"""Slug of the oracle that compares outcome and snapshot with the specification's."""
CRASH = "no-crash"
"""Slug of the oracle that takes an exception or E_INTERNAL of a subject for a finding."""

DIFFERENCE = "both-subjects-do-the-same"
"""Slug of the oracle that compares two subjects."""
OWN_CHECK = "own-sanity-check"
"""Slug of the oracle that is the subject's own check of its state, where it has one."""

RELATION = "a-step-is-a-sequence-of-transitions"
"""Slug of the oracle that explains a step by the transitions that are proved (docs/proofs.md)."""
LINKED = "linked"
"""How a step counts that is such a sequence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong after one step. ``who`` is the subject's name."""

    who: str
    slug: str
    violation: Violation | None
    message: str


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A trace whose last operation broke something, and everything it broke."""

    trace: Trace
    step: int
    """Index of the operation (0-based); -1: the empty cache."""
    operation: Operation | None
    outcome: Outcome | None
    before: Snapshot | None
    """Of the subject at fault."""
    after: Snapshot | None
    findings: tuple[Finding, ...]
    wanted: Snapshot | None = None
    """The specification's state after the step, where there is one to compare with."""
    past: frozenset[str] = frozenset()
    """Oracles that complained at an earlier step and were gone past (sglang/solo.py)."""

    @property
    def slugs(self) -> tuple[str, ...]:
        """Sorted names of the oracles that complain."""
        return tuple(sorted({f.slug for f in self.findings}))


def kinds(found: Counterexample) -> set[str]:
    """What tells one defect from another: the slugs, and where it crashed or what it said."""
    told = set()
    for f in found.findings:
        if f.slug in (CRASH, OWN_CHECK):
            lines = f.message.splitlines()
            said = lines[1] if f.slug == OWN_CHECK and len(lines) > 1 else lines[0]
            told.add(f"{f.slug}: {re.sub('[0-9]+', 'N', said).strip()}")
        else:
            told.add(f.slug)
    return told


def causes(found: Counterexample) -> set[str]:
    """What it has in common with other sights of one defect: the slugs, and what it crashed with,
    wherever that was."""
    told = set()
    for f in found.findings:
        said = f.message.splitlines()[0].split(" (")[0] if f.slug == CRASH else ""
        told.add(f"{f.slug}: {re.sub('[0-9]+', 'N', said)}" if said else f.slug)
    return told


def grouped(found: Sequence[Counterexample]) -> list[list[int]]:
    """Places of counterexamples that are one defect for all we see: what one breaks the other
    breaks, too. Each group and all groups in order.

    Two defects can break the same invariants: every member of a group is to be seen.
    """
    of = [causes(each) for each in found]
    groups: list[list[int]] = []
    for place, broken in enumerate(of):
        alike = [g for g in groups if any(broken <= of[p] or of[p] <= broken for p in g)]
        groups = [g for g in groups if g not in alike]
        groups.append(sorted([place, *(p for g in alike for p in g)]))
    return sorted(groups)
