"""Known-wrong caches are caught, and by the invariants that are meant to."""

from __future__ import annotations

import pytest

from radixproof.invariants.catalogue import CATALOGUE
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.variants_table import SEEDS, hunt, measure
from radixproof.stateful_tests.verdict import CRASH

SLOW = {"M-14", "M-33", "M-38", "M-9", "M-35", "M-6", "M-37", "M-49", "M-50", "M-52", "M-53"}
SLOW |= {"M-55", "M-55b", "M-42", "M-65b", "M-68"}
"""Variants that take thousands of steps to find."""


def test_there_are_enough() -> None:
    assert len({id.rstrip("abcd") for id in VARIANTS}) >= 25
    for variant in VARIANTS.values():
        assert variant.caught_by
        for slug in variant.caught_by:
            assert slug == CRASH or slug in CATALOGUE


@pytest.mark.parametrize("id", [v for v in VARIANTS if v not in SLOW])
def test_it_is_caught_by_the_right_invariant(id: str) -> None:
    variant = VARIANTS[id]
    found, _ = hunt(variant, 0, agreement=False)
    assert found is not None
    assert set(found.slugs) & set(variant.caught_by)


@pytest.mark.nightly
@pytest.mark.parametrize("id", VARIANTS)
def test_it_is_caught_with_every_seed(id: str) -> None:
    assert measure(VARIANTS[id], SEEDS).caught
