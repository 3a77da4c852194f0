"""Alarms: what a subject must not get away with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch

from radixproof.impl.torch_cache.subject import TorchSubject, open_torch
from radixproof.invariants.checker import identical
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests import lockstep
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.lockstep import Coverage, Lockstep
from radixproof.stateful_tests.tests import corruptions
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.verdict import AGREEMENT, CRASH, RELATION, Counterexample
from radixproof.stateful_tests.walk import walk


class Liar:
    """A right cache whose snapshots are tampered with."""

    name = "liar"

    def __init__(self, config: CacheConfig, tamper: Callable[[Snapshot], Snapshot]) -> None:
        self.subject = open_torch(config)
        self.tamper = tamper

    def apply(self, operation: op.Operation) -> Outcome:
        return self.subject.apply(operation)

    def snapshot(self) -> Snapshot:
        return self.tamper(self.subject.snapshot())

    def close(self) -> None:
        self.subject.close()


def run(tamper: Callable[[Snapshot], Snapshot]) -> Counterexample:
    lockstep = Lockstep(CacheConfig(), lambda config: Liar(config, tamper))
    for operation in (op.Insert((1, 2, 3)), op.Execute(op.WRITE), op.Lock("a", (1,))):
        found = lockstep.step(operation)
        if found is not None:
            return found
    raise AssertionError("nothing was reported")


def tampering(name: str) -> Callable[[Snapshot], Snapshot]:
    return lambda state: corruptions.CORRUPTIONS[name](state, RandomChooser(Random(0)))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("change_sizes", "sizes-add-up"),
        ("change_lock", "lock-counts-are-sums-of-receipts"),
        ("lose_receipt", "lock-counts-are-sums-of-receipts"),
        ("change_leaf_sets", "host-leaf-set-is-exact"),
        ("change_free_list", "host-slots-have-one-owner"),
    ],
)
def test_a_corrupted_counter_or_dropped_lock_is_reported(name: str, slug: str) -> None:
    found = run(tampering(name))
    assert slug in found.slugs
    assert AGREEMENT in found.slugs, "all oracles are reported, not the first"


def test_a_corrupted_byte_is_reported() -> None:
    lockstep = Lockstep(CacheConfig(), open_torch)
    assert lockstep.step(op.Insert((1, 2))) is None
    subject = lockstep.subject
    assert isinstance(subject, TorchSubject)
    subject.cache.memory.pools["full"].kv[1, 0, 2, 0, 3] += 1.0
    found = lockstep.step(op.Match((1, 2)))
    assert found is not None
    assert "device-slots-hold-their-prefix" in found.slugs


def test_a_wrong_outcome_is_reported() -> None:
    class Wrong(TorchSubject):
        def apply(self, operation: op.Operation) -> Outcome:
            outcome = super().apply(operation)
            return replace(outcome, values={**outcome.values, "prefix_len": 9})

    cpu = torch.device("cpu")
    lockstep = Lockstep(CacheConfig(), lambda config: Wrong(open_torch(config, cpu.type).cache))
    found = lockstep.step(op.Insert((1, 2)))
    assert found is not None
    assert {AGREEMENT, "an-insert-reports-what-the-tree-had"} <= set(found.slugs)


def test_an_exception_is_a_verdict() -> None:
    class Raising(TorchSubject):
        def apply(self, operation: op.Operation) -> Outcome:
            raise ValueError("segfault, nearly")

    found = Lockstep(CacheConfig(), lambda config: Raising(open_torch(config).cache)).step(
        op.Match((1,))
    )
    assert found is not None
    assert found.slugs == (CRASH,)


@pytest.mark.parametrize("id", ["M-1", "M-3", "M-18"])
def test_carried_over_verdicts_are_those_that_would_be_given(
    id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the specification and the subject are alike, one evaluation stands for both."""

    def judged() -> list[tuple[int, object]]:
        seen: list[tuple[int, object]] = []
        for seed in range(25):
            coverage = Coverage()
            found = walk(VARIANTS[id].open, seed, coverage=coverage)
            seen.append((coverage.evaluations, found and [(f.who, f.slug) for f in found.findings]))
        return seen

    carried = judged()
    monkeypatch.setattr(lockstep, "identical", lambda left, right: False)
    assert judged() == carried
    assert any(findings for _, findings in carried)


def test_states_that_differ_in_an_id_are_not_identical() -> None:
    subject = open_torch(CacheConfig())
    subject.apply(op.Insert((1, 2)))
    state = subject.snapshot()
    renamed = replace(state, nodes=tuple(replace(n, id=n.id + 7) for n in state.nodes))
    assert state == renamed
    assert identical(state, state)
    assert not identical(state, renamed)


def test_steps_are_explained_where_that_is_asked_for() -> None:
    """M-1 obeys every state invariant; the relation alone says what is wrong with its step."""
    wrong, config = VARIANTS["M-1"], CacheConfig(sliding_window=1)
    run = Lockstep(config, wrong.open, invariants=False, agreement=False, relation=True)
    found = run.step(op.Insert((1, 1)))
    assert found is not None
    assert found.slugs == (RELATION,)
    assert walk(open_torch, 7, relation=True) is None
