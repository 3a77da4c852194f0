"""The proofs hold, both solvers agree, and every wrong rule is refuted by a genuine example."""

from __future__ import annotations

import pytest

from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.proofs import fragment
from radixproof.invariants.proofs.counterexample import smallest
from radixproof.invariants.proofs.obligations import consecution, invariants, obligations
from radixproof.invariants.proofs.picture import picture
from radixproof.invariants.proofs.prover import PROVED, REFUTED, discharge
from radixproof.invariants.proofs.solvers import CVC5, Z3
from radixproof.invariants.proofs.theory import THEORY
from radixproof.invariants.proofs.variants import WRONG


def test_both_solvers_prove_every_obligation() -> None:
    results = [discharge(o, (Z3, CVC5)) for o in obligations(THEORY)]
    assert len(results) > 800
    assert [r.obligation for r in results if r.status != PROVED] == []


def test_every_obligation_is_effectively_propositional() -> None:
    found = fragment.of_obligations(obligations(THEORY))
    assert found == {("Node", "Holder")}
    assert not fragment.has_cycle(found)
    assert fragment.has_cycle({("Node", "Holder"), ("Holder", "Node")})


def test_sentences_are_the_catalogues_or_helpers() -> None:
    for claim in THEORY.claims:
        assert claim.slug in CATALOGUE or getattr(claim, "helper", False), claim.slug


@pytest.mark.parametrize("id", WRONG)
def test_a_wrong_rule_is_refuted(id: str) -> None:
    rule = WRONG[id]
    changed = {t.name for t in rule.transitions}
    results = [discharge(o, (Z3,)) for o in obligations(rule.theory) if o.transition in changed]
    refuted = {(r.obligation.transition, r.obligation.slug) for r in results if r.status == REFUTED}
    assert set(rule.breaks) <= refuted
    assert {r.status for r in results} <= {PROVED, REFUTED}
    for name, slug in rule.breaks[:1]:
        obligation = next(
            r.obligation
            for r in results
            if (r.obligation.transition, r.obligation.slug) == (name, slug)
        )
        assert discharge(obligation, (CVC5,)).status == REFUTED
        found = smallest(rule.theory, obligation)
        assert found is not None
        assert found.nodes <= 4
        assert "<-- here" in picture(found)


def test_the_seed_bug_keeps_the_tree_closed_and_loses_a_prefix() -> None:
    """M-1 leaves I-1 inductive: only the sentence about loss sees it (domain.md 9)."""
    theory = WRONG["M-1"].theory
    held, hit = invariants(theory), theory.transition("hit")
    status = {i.slug: discharge(consecution(held, hit, i), (Z3,)).status for i in theory.invariants}
    assert [s for s, found in status.items() if found != PROVED] == [
        "hits-at-the-threshold-are-backed-up"
    ]
