"""Known bugs of real releases that a variant of our cache shows: how to find them from scratch."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.config import FULL, SWA, WRITE_THROUGH
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.shrink import shrink
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.verdict import Counterexample
from radixproof.stateful_tests.walk import walk

WALKS = 2000
"""Walks after which a hunt gives up."""
MARGIN = 50
"""Walks that the right cache must stand beyond those that broke the wrong one."""


@dataclass(frozen=True, slots=True)
class Bug:
    """``id`` is the number of the upstream pull request; ``variant`` the cache that has it."""

    id: str
    title: str
    story: str
    variant: str
    limits: Limits
    wanted: frozenset[str]
    """The invariants that name the defect."""


BUGS = {
    bug.id: bug
    for bug in (
        Bug(
            "25065",
            "backup SWA-split parent before child under write-through",
            "An insert across the SWA eviction boundary splits its leaf. The new parent has no host"
            " copy,\nso the child's backup is silently skipped, and at device eviction the leaf is"
            " deleted instead\nof demoted. The fix: an unbacked parent is backed up first.",
            "M-1",
            Limits((FULL, SWA), WRITE_THROUGH, host=True),
            frozenset({"hits-at-the-threshold-are-backed-up"}),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Hunt:
    """What a hunt found and how long it took."""

    counterexample: Counterexample | None
    walks: int
    steps: int
    coverage: Coverage


def hunt(bug: Bug, seed: int) -> Hunt:
    """Search the wrong cache by random walks, and shrink what is found."""
    open_subject = VARIANTS[bug.variant].open
    found, walks, coverage = _search(bug, open_subject, seed, WALKS)
    if found is not None:
        found = shrink(found, open_subject, wanted=bug.wanted)
    return Hunt(found, walks, coverage.steps, coverage)


def hunt_fixed(bug: Bug, seed: int) -> Hunt:
    """The same walks and more on the right cache, and the shrunk trace of the wrong one."""
    wrong = hunt(bug, seed)
    found, walks, coverage = _search(bug, open_torch, seed, wrong.walks + MARGIN)
    if found is None and wrong.counterexample is not None:
        found = replay(wrong.counterexample.trace, open_torch, coverage=coverage)
    return Hunt(found, walks, coverage.steps, coverage)


def _search(
    bug: Bug, open_subject: OpenSubject, seed: int, limit: int
) -> tuple[Counterexample | None, int, Coverage]:
    coverage = Coverage()
    for i in range(limit):
        found = walk(open_subject, seed * 1_000_003 + i, limits=bug.limits, coverage=coverage)
        if found is not None and bug.wanted & set(found.slugs):
            return found, i + 1, coverage
        if found is not None and open_subject is open_torch:
            return found, i + 1, coverage
    return None, limit, coverage
