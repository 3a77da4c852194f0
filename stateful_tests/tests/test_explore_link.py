"""Every edge of an exhausted scope is a step of the relation that is proved."""

from __future__ import annotations

from typing import Any

import pytest

from radixproof.invariants.catalogue import Step
from radixproof.invariants.view import View
from radixproof.stateful_tests.explore.every_edge import every_edge
from radixproof.stateful_tests.explore.scope import SCOPES, Scope, bounded

link: Any = pytest.importorskip("radixproof.invariants.proofs.link")

TINY = SCOPES["tiny"]


@pytest.mark.parametrize(
    "scope",
    [
        bounded(TINY, {"host": 1}),
        pytest.param(TINY, marks=pytest.mark.nightly),
    ],
    ids=lambda scope: scope.name,
)
def test_every_edge_decomposes_into_proved_transitions(scope: Scope) -> None:
    edges = 0
    for edge in every_edge(scope):
        step = Step(View(edge.before), edge.operation, edge.outcome, View(edge.after))
        found = link.explain(step)
        assert found.holds, f"{edge.operation}: {found}"
        edges += 1
    assert edges > 5000
