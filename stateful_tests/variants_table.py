"""How fast each known-wrong cache is caught, and by what.

Two runs per seed: with every oracle (that is how soon a wrong cache is noticed) and with the
invariants alone (that names the invariant which would notice it in a cache without a model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.shrink import shrink
from radixproof.stateful_tests.variants.variant import Variant
from radixproof.stateful_tests.verdict import AGREEMENT, Counterexample
from radixproof.stateful_tests.walk import walk

SEEDS = (0, 1, 2, 3, 4)
LIMIT = 4000
"""Walks after which a variant counts as not caught."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One seed: steps to the first complaint of any oracle, and of an invariant alone."""

    steps: int | None
    seconds: float
    slugs: tuple[str, ...]
    """Invariants violated by the first step that violates any."""


@dataclass(frozen=True, slots=True)
class Row:
    """One variant over all seeds."""

    variant: Variant
    detections: tuple[Detection, ...]
    shrunk: Counterexample | None

    @property
    def caught(self) -> bool:
        """In every seed, and by an invariant that is meant to."""
        return all(
            d.steps is not None and set(d.slugs) & set(self.variant.caught_by)
            for d in self.detections
        )

    @property
    def steps(self) -> float | None:
        steps = [d.steps for d in self.detections]
        return median(s for s in steps if s is not None) if None not in steps else None

    @property
    def seconds(self) -> float:
        return median(d.seconds for d in self.detections)

    @property
    def slugs(self) -> tuple[str, ...]:
        """The invariants that are meant to catch it and did, by how many seeds."""
        seen = [s for d in self.detections for s in d.slugs if s in self.variant.caught_by]
        return tuple(sorted(dict.fromkeys(seen), key=lambda s: (-seen.count(s), s)))


def measure(variant: Variant, seeds: Sequence[int] = SEEDS) -> Row:
    """Hunt one variant from cold with each seed; the shortest find is shrunk."""
    detections, finds = [], []
    for seed in seeds:
        begin = perf_counter()
        found, steps = hunt(variant, seed)
        seconds = perf_counter() - begin
        alone, _ = hunt(variant, seed, agreement=False)
        slugs = tuple(s for s in (alone.slugs if alone else ()) if s != AGREEMENT)
        detections.append(Detection(steps if found else None, seconds, slugs))
        if alone is not None:
            finds.append(alone)
    shrunk = None
    if finds:
        shortest = min(finds, key=lambda f: len(f.trace.operations))
        wanted = frozenset(shortest.slugs) & frozenset(variant.caught_by)
        shrunk = shrink(shortest, variant.open, wanted=wanted or None)
    return Row(variant, tuple(detections), shrunk)


def hunt(
    variant: Variant, seed: int, *, agreement: bool = True, limit: int = LIMIT
) -> tuple[Counterexample | None, int]:
    """Walk until something complains; the counterexample and the steps it took."""
    coverage = Coverage()
    for i in range(limit):
        found = walk(variant.open, seed * 1_000_003 + i, coverage=coverage, agreement=agreement)
        if found is not None:
            return found, coverage.steps
    return None, coverage.steps
