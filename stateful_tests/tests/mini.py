"""Scopes of exploration that are small enough for tests, and their edges."""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.outcome import Status
from radixproof.model.reference import ReferenceModel
from radixproof.stateful_tests.explore.copies import freeze, thaw
from radixproof.stateful_tests.explore.operations import universe, within
from radixproof.stateful_tests.explore.scope import EVERYTHING, SCOPES, Scope

CONFIG = CacheConfig(
    sliding_window=1, full_slots=2, swa_slots=2, host_full_slots=1, host_swa_slots=1
)
MINI = replace(SCOPES["tiny"], name="mini", config=CONFIG, requests=0)
"""Sixty states with splits, transfers and refusals."""
WIDE = Scope(
    "wide",
    replace(CONFIG, full_slots=3, swa_slots=3, host_full_slots=2, host_swa_slots=2),
    longest=3,
    decoded=3,
    requests=3,
    holders=3,
    failures=2,
    amounts=(*range(4), EVERYTHING),
    limits=(None, 0, 1, 2),
    quotas=(None, *range(4)),
    chunked=(False, True),
    priorities=(0, 1),
)
"""Every argument that the generators know, as long as keys are short and numbers small."""


def model_of(scope: Scope, *operations: op.Operation) -> ReferenceModel:
    model = ReferenceModel(scope.config)
    for operation in operations:
        model.apply(operation)
    return model


def legal(scope: Scope, model: ReferenceModel) -> list[op.Operation]:
    """The edges of a state as the explorer sees them."""
    frozen, state, found = freeze(model), model.snapshot(), []
    copy = thaw(frozen)
    for operation in universe(scope):
        if within(scope, state, operation) and copy.apply(operation).status is not Status.ERROR:
            found.append(operation)
            copy = thaw(frozen)
    return found
