"""The tree before and after, with the difference marked."""

from __future__ import annotations

from radixproof.cli.tree import before_and_after
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.reference import ReferenceModel


def test_the_difference_is_marked() -> None:
    model = ReferenceModel(CacheConfig(host_full_slots=0, host_swa_slots=0))
    model.apply(op.Insert((1, 2)))
    before = model.snapshot()
    model.apply(op.Insert((3,), "x"))
    model.apply(op.Lock("a", (1, 2)))
    assert before_and_after(before, model.snapshot(), {1}) == [
        "before:",
        "~ [1 2]  FULL device  SWA device  hits 1  D-leaf",
        "after:",
        "~ [1 2]  FULL device  SWA device  lock 1/1  hits 1",
        "+ x:[3]  FULL device  SWA device  hits 1  D-leaf   <-- here",
    ]


def test_what_is_gone_is_marked() -> None:
    model = ReferenceModel(CacheConfig(host_full_slots=0, host_swa_slots=0))
    model.apply(op.Insert((1,)))
    before = model.snapshot()
    model.apply(op.Evict(1))
    lines = before_and_after(before, model.snapshot(), set())
    assert lines == [
        "before:",
        "- [1]  FULL device  SWA device  hits 1  D-leaf",
        "after:",
        "  (empty)",
    ]
    assert before_and_after(before, None, set())[-1].startswith("after: the subject did not")
