"""The abstraction says what the specification does, and three programs find the same in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.benchmarks import explore as benchmark
from radixproof.cli.main import main
from radixproof.model import operations as op
from radixproof.model.reference import ReferenceModel
from radixproof.stateful_tests.explore.every_edge import every_edge
from radixproof.stateful_tests.explore.residency import promela, vectorised
from radixproof.stateful_tests.explore.residency.plain import reachable
from radixproof.stateful_tests.explore.residency.projection import (
    STEPS,
    follows,
    project,
)
from radixproof.stateful_tests.explore.residency.relation import Pattern, Residency, Rule
from radixproof.stateful_tests.explore.scope import SCOPES, bounded
from radixproof.stateful_tests.explore.search import explore

needs_spin = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in promela.TOOLS), reason="SPIN is not installed"
)
SHAPES = {"chain": (1, 3), "siblings": (2, 1), "both": (2, 2)}


@pytest.mark.parametrize(("alphabet", "longest"), [(1, 3), (2, 1)], ids=["chain", "siblings"])
def test_the_relation_is_exact(alphabet: int, longest: int) -> None:
    """The images of the specification's states are the reachable states; its edges, steps."""
    found = project(alphabet, longest)
    states, _ = reachable(Residency.complete(alphabet, longest))
    assert found.strays == ()
    assert found.states == states
    assert found.operations == set(STEPS)
    assert found.edges > 1000


def test_a_step_that_the_relation_does_not_allow_is_seen() -> None:
    relation = Residency.complete(1, 2)
    on_device = relation.of("dhwe", [(1,)])
    assert follows(relation, 0, op.Insert((1,)), on_device)
    assert not follows(relation, 0, op.Insert((1,)), relation.of("de", [(1,)]))
    assert not follows(relation, on_device, op.Evict(1), relation.of("hwe", [(1,)]))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_vectorised_and_plain_find_the_same(shape: tuple[int, int]) -> None:
    relation = Residency.complete(*shape)
    states, count = reachable(relation)
    assert vectorised.search(relation) == count
    assert count.broken == ()
    assert len(states) == count.states


@needs_spin
def test_spin_finds_the_same() -> None:
    relation = Residency.complete(1, 2)
    _, ours = reachable(relation)
    spin = promela.count(relation)
    assert (spin.states, spin.transitions - 1, spin.errors) == (ours.states, ours.transitions, 0)


def test_every_rule_is_enabled_somewhere() -> None:
    relation = Residency.complete(2, 2)
    states, _ = reachable(relation)
    for rule in relation.rules:
        enabled = [s for s in states if rule.guard.matches(s)]
        assert enabled, rule
        if rule.name != "insert":  # what is there may be inserted again
            assert all(rule.apply(s) != s for s in enabled), rule


class Mutant(Residency):
    """The relation with one rule replaced."""

    number: int
    rule: Rule

    @property
    def rules(self) -> tuple[Rule, ...]:
        rules = Residency(self.prefixes).rules
        return (*rules[: self.number], self.rule, *rules[self.number + 1 :])


def mutants(relation: Residency) -> Iterator[Mutant]:
    """Every guard without one of its conjuncts."""
    for number, rule in enumerate(relation.rules):
        guard = rule.guard
        literals = guard.needs | guard.lacks
        for bit in (1 << i for i in range(literals.bit_length()) if literals >> i & 1):
            mutant = Mutant(relation.prefixes)
            object.__setattr__(mutant, "number", number)
            weaker = Pattern("", guard.needs & ~bit, guard.lacks & ~bit)
            object.__setattr__(mutant, "rule", replace(rule, guard=weaker))
            yield mutant


def test_every_invariant_is_violated_by_some_weaker_guard() -> None:
    relation = Residency.complete(1, 2)
    broken = {name for mutant in mutants(relation) for name in vectorised.search(mutant).broken}
    assert broken == {pattern.name for pattern in relation.never}


@needs_spin
def test_spin_sees_a_violation() -> None:
    relation = Residency.complete(1, 2)
    wrong = next(m for m in mutants(relation) if vectorised.search(m).broken)
    assert promela.count(wrong).errors > 0


@needs_spin
def test_the_benchmark_requires_equal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "FULL_MODEL_STATES", 3)
    monkeypatch.setattr(benchmark, "SHARED", (1, 2))
    result = benchmark.run(rounds=1, relation=Residency.complete(1, 2))
    assert set(result["ratio_to_spin"]) == set(result["timing"]["states_per_second"])
    assert result["ratio_to_spin"]["spin"] == 1
    monkeypatch.setattr(benchmark, "reachable", lambda relation: reachable(Residency(((1,),))))
    with pytest.raises(benchmark.CountsDiffer):
        benchmark.run(rounds=1, relation=Residency.complete(1, 2))


def test_without_spin_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["bench", "explore"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "spin" in told.err


def test_every_edge_is_what_the_search_counts() -> None:
    scope = bounded(SCOPES["tiny"], {"requests": 0, "host": 1})
    report = explore(scope, ReferenceModel)
    assert sum(1 for _ in every_edge(scope)) == report.progress.edges
