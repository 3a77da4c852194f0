"""The proofs are about something, and each guard is there for a reason that is known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.proofs.logic import FALSE, forall
from radixproof.invariants.proofs.mutants import (
    IDLE,
    POLICY,
    REDUNDANT,
    REFUTES,
    SURVIVES,
    mutants,
)
from radixproof.invariants.proofs.obligations import obligations
from radixproof.invariants.proofs.prover import PROVED, discharge
from radixproof.invariants.proofs.solvers import Z3
from radixproof.invariants.proofs.system import Sentence, Theory
from radixproof.invariants.proofs.theories import THEORIES
from radixproof.invariants.proofs.theory import THEORY
from radixproof.invariants.proofs.vacuity import chains, falsified
from radixproof.invariants.proofs.vocabulary import has, k, live, swa, t, uses, x


def only(theory: Theory, *names: str) -> Theory:
    return replace(theory, transitions=tuple(map(theory.transition, names)))


@pytest.mark.parametrize("name", THEORIES)
def test_every_transition_is_enabled_in_a_reachable_state(name: str) -> None:
    theory = THEORIES[name]
    found = chains(theory)
    assert set(found) == {t.name for t in theory.transitions}
    assert max(map(len, found.values())) <= 5


@pytest.mark.parametrize("name", THEORIES)
def test_every_sentence_can_be_false(name: str) -> None:
    assert [f.slug for f in falsified(THEORIES[name], Z3, 10) if not f.by] == []


def test_a_contradiction_among_the_axioms_is_seen() -> None:
    """It proves everything, and reaches nothing."""
    wrong = replace(THEORY, axioms=(*THEORY.axioms, uses(swa) & ~uses(swa)))
    some = [o for o in obligations(wrong) if o.kind == "step"][:5]
    assert {discharge(o, (Z3,)).status for o in some} == {PROVED}
    assert chains(wrong) == {}


def test_a_transition_that_cannot_happen_is_seen() -> None:
    dead = THEORY.transition("demote").requiring(never=FALSE)
    assert "demote" not in chains(only(THEORY.replacing(dead), "add-leaf", "demote"))


def test_a_sentence_that_cannot_be_false_is_seen() -> None:
    certain = Sentence("certain", "", forall(k, t, x)(has(k, t, x) >> (has(k, t, x) | live(x))))
    theory = replace(THEORY, invariants=(certain,), steps=())
    assert [f.by for f in falsified(theory, Z3, 10)] == [""]


def test_dropped_conjuncts_are_noticed() -> None:
    verdicts = {
        (m.transition, m.conjunct): m.verdict
        for m in mutants(only(THEORY, "write-back", "demote", "delete"), Z3, 10)
    }
    assert verdicts["demote", "backed-up"] == REFUTES
    assert verdicts["demote", "on-device"] == IDLE
    assert verdicts["delete", "below-the-root"] == REDUNDANT
    survivors = {key for key, verdict in verdicts.items() if verdict == SURVIVES}
    assert survivors == {k for k in POLICY if k[0] == "write-back"}


@pytest.mark.parametrize(("transition", "conjunct"), POLICY)
def test_a_survivor_survives_and_is_explained(transition: str, conjunct: str) -> None:
    """By the page, which names the rule of the catalogue that speaks of it instead."""
    theory = next(t for t in THEORIES.values() if transition in {r.name for r in t.transitions})
    found = {m.conjunct: m.verdict for m in mutants(only(theory, transition), Z3, 10)}
    assert found[conjunct] == SURVIVES
    page = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
    rows = [
        r
        for r in page.splitlines()
        if r.startswith(f"| `{transition}`: {conjunct.replace('-', ' ')} ")
    ]
    assert len(rows) == 1
    named = set(re.findall("`([a-z0-9-]+)`", rows[0].split("|")[3]))
    assert named
    assert named <= set(CATALOGUE)


@pytest.mark.nightly
def test_every_survivor_is_explained() -> None:
    survivors = {
        (m.transition, m.conjunct)
        for theory in THEORIES.values()
        for m in mutants(theory, Z3, 10)
        if m.verdict == SURVIVES
    }
    assert survivors == set(POLICY)
