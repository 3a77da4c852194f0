"""The proofs hold, both solvers agree, and every wrong rule is refuted by a genuine example."""

from __future__ import annotations

import pytest

from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.proofs import bounded, fragment
from radixproof.invariants.proofs.counterexample import smallest
from radixproof.invariants.proofs.logic import exists, forall
from radixproof.invariants.proofs.obligations import consecution, invariants, obligations
from radixproof.invariants.proofs.picture import picture
from radixproof.invariants.proofs.prover import PROVED, REFUTED, discharge
from radixproof.invariants.proofs.solvers import CVC5, Z3
from radixproof.invariants.proofs.theories import THEORIES
from radixproof.invariants.proofs.variants import WRONG
from radixproof.invariants.proofs.vocabulary import parent, x, y
from radixproof.stateful_tests.refuted import reach
from radixproof.stateful_tests.variants import VARIANTS


def test_both_solvers_prove_every_obligation() -> None:
    everything = (o for theory in THEORIES.values() for o in obligations(theory))
    results = [discharge(o, (Z3, CVC5)) for o in everything]
    assert len(results) > 1000
    assert [r.obligation for r in results if r.status != PROVED] == []


@pytest.mark.parametrize("name", THEORIES)
def test_every_obligation_is_effectively_propositional(name: str) -> None:
    found = fragment.of_obligations(obligations(THEORIES[name]))
    assert found
    assert not fragment.has_cycle(found)


def test_a_cycle_of_quantifiers_is_seen() -> None:
    assert fragment.has_cycle({("Node", "Holder"), ("Holder", "Node")})
    every_node_has_a_parent = forall(x)(exists(y)(parent(x, y)))
    assert fragment.arrows(every_node_has_a_parent) == {("Node", "Node")}


def test_sentences_are_the_catalogues_or_helpers() -> None:
    for theory in THEORIES.values():
        for claim in theory.claims:
            assert claim.slug in CATALOGUE or getattr(claim, "helper", False), claim.slug


@pytest.mark.parametrize("id", WRONG)
def test_a_wrong_rule_is_refuted(id: str) -> None:
    """By both solvers, and by an example of at most four nodes that the evaluator confirms."""
    rule = WRONG[id]
    meant = [o for o in obligations(rule.theory) if (o.transition, o.slug) in rule.breaks]
    results = [discharge(o, (Z3, CVC5)) for o in meant]
    assert {r.status for r in results} <= {PROVED, REFUTED}
    refuted = [r.obligation for r in results if r.status == REFUTED]
    assert {(o.transition, o.slug) for o in refuted} == set(rule.breaks)
    found = smallest(rule.theory, refuted[0])
    assert found is not None
    assert found.nodes <= 4
    assert "violated at" in picture(found)


@pytest.mark.parametrize("id", [i for i in WRONG if i in VARIANTS])
def test_a_refuted_rule_is_reached_by_a_run(id: str) -> None:
    """On the torch cache that plants it; the model and the right cache stand the same run."""
    reached = reach(WRONG[id])
    assert reached is not None
    assert reached.outside
    assert reached.slugs
    assert reached.model_holds
    assert reached.cache_holds


def test_numbers_add_up_on_every_small_tree() -> None:
    results = [discharge(o, (Z3, CVC5)) for o in bounded.obligations()]
    assert len(results) == 100
    assert {r.status for r in results} == {PROVED}


@pytest.mark.parametrize(
    ("id", "broken"),
    [("M-8", {"full-locks-are-upward-closed", "sizes-add-up"}), ("M-13", {"sizes-add-up"})],
)
def test_wrong_counting_is_refuted(id: str, broken: set[str]) -> None:
    results = [discharge(o, (Z3, CVC5)) for o in bounded.obligations(id, most=2)]
    assert {r.obligation.slug for r in results if r.status == REFUTED} == broken
    assert {r.status for r in results} == {PROVED, REFUTED}


def test_all_trees_are_tried() -> None:
    assert [len(list(bounded.trees(n))) for n in range(1, 5)] == [1, 2, 6, 24]


def test_the_seed_bug_keeps_the_tree_closed_and_loses_a_prefix() -> None:
    """M-1 leaves I-1 inductive: only the sentence about loss sees it (domain.md 9)."""
    theory = WRONG["M-1"].theory
    held, hit = invariants(theory), theory.transition("hit")
    status = {i.slug: discharge(consecution(held, hit, i), (Z3,)).status for i in theory.invariants}
    assert [s for s, found in status.items() if found != PROVED] == [
        "hits-at-the-threshold-are-backed-up"
    ]
