"""Exploration finds what is wrong, by the shortest way, and nothing else."""

from __future__ import annotations

import pytest

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node
from radixproof.impl.torch_cache.subject import TorchSubject, open_torch
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.stateful_tests.explore.errors import (
    CopyDiffers,
    NotCopyable,
)
from radixproof.stateful_tests.explore.scope import SCOPES
from radixproof.stateful_tests.explore.search import explore
from radixproof.stateful_tests.explore.shortest import IN_NO_SCOPE, SHOWN_IN, shortest
from radixproof.stateful_tests.tests.mini import MINI
from radixproof.stateful_tests.variants import VARIANTS


def test_the_shortest_counterexample_of_the_skipped_backup() -> None:
    found = explore(SCOPES["tiny"], VARIANTS["M-1"].open, jobs=2).counterexample
    assert found is not None
    assert "hits-at-the-threshold-are-backed-up" in found.slugs
    assert found.trace.operations == (op.Insert((1, 1)),)


@pytest.mark.parametrize(
    ("id", "operations", "slug"),
    [
        ("M-3", 1, "pending-writes-keep-their-source"),
        ("M-4", 3, "device-slots-have-one-owner"),
        ("M-7", 4, "swa-data-needs-full-data"),
        ("M-20", 4, "free-slots-are-unmapped"),
        ("M-23", 4, "host-eviction-takes-only-what-is-host-only"),
    ],
)
def test_the_shortest_counterexamples(id: str, operations: int, slug: str) -> None:
    """How many operations it takes to show a wrong rule; no search is luckier."""
    found = explore(SCOPES["tiny"], VARIANTS[id].open).counterexample
    assert found is not None
    assert len(found.trace.operations) == operations
    assert slug in found.slugs


def test_what_is_said_of_variants_is_of_variants() -> None:
    assert {*SHOWN_IN, *IN_NO_SCOPE} <= set(VARIANTS)
    assert not set(SHOWN_IN) & set(IN_NO_SCOPE)


SHORT = {
    "M-1c": 2, "M-1e": 2, "M-2": 2, "M-6": 2, "M-8": 2, "M-10": 2, "M-17": 2, "M-25": 2,
    "M-27": 2, "M-28": 1, "M-32": 1, "M-41": 2, "M-45": 1, "M-48": 1, "M-52": 1, "M-60": 1,
}  # fmt: skip
"""Variant -> operations of its shortest counterexample; those that few states show."""


SEEN_BY_AGREEMENT_FIRST = {"M-15", "M-21", "M-64", "M-76"}
"""In so few operations the state differs from the specification's and breaks nothing by itself."""


@pytest.mark.parametrize(
    "id",
    [pytest.param(id, marks=() if id in SHORT else pytest.mark.nightly) for id in SHOWN_IN],
)
def test_a_variant_shows_in_its_scope(id: str) -> None:
    found = shortest(id)
    assert found.counterexample is not None
    named = set(found.slugs) & set(VARIANTS[id].caught_by)
    assert named or id in SEEN_BY_AGREEMENT_FIRST
    if id in SHORT:
        assert len(found.counterexample.trace.operations) == SHORT[id]


def test_the_counterexample_does_not_depend_on_the_number_of_processes() -> None:
    found = [explore(MINI, VARIANTS["M-3"].open, jobs=jobs).counterexample for jobs in (1, 3)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].trace == found[1].trace


class RemembersItsAddress(TorchCache):
    """What a copy cannot be right about: a decision by object identity."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.self_id = id(self)

    def _count_hit(self, node: Node, chunked: bool) -> None:
        super()._count_hit(node, chunked or id(self) != self.self_id)


def test_what_only_a_copy_shows_is_no_counterexample() -> None:
    def open_it(config: CacheConfig) -> TorchSubject:
        return open_torch(config, cache_class=RemembersItsAddress)

    with pytest.raises(CopyDiffers):
        explore(MINI, open_it)


class Unique(TorchCache):
    """Holds something that has no bytes."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.decide = lambda: True


def test_a_subject_that_cannot_be_copied_is_told_in_one_line() -> None:
    with pytest.raises(NotCopyable, match="torch cannot be explored"):
        explore(MINI, lambda config: open_torch(config, cache_class=Unique))
