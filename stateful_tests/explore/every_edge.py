"""Every edge of a scope, one after the other, for whoever wants to say something about each.

The specification alone, in one process; ``search.py`` is for scopes that need more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome, Status
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.explore.canonical import digest
from radixproof.stateful_tests.explore.copies import freeze, thaw
from radixproof.stateful_tests.explore.operations import universe, within
from radixproof.stateful_tests.explore.scope import Scope


class Edge(NamedTuple):
    """One legal operation from one state."""

    before: Snapshot
    operation: Operation
    outcome: Outcome
    after: Snapshot


def every_edge(scope: Scope) -> Iterator[Edge]:
    """All edges of a scope, breadth first; states that differ by names alone count once."""
    operations = universe(scope)
    empty = ReferenceModel(scope.config)
    seen = {digest(empty.snapshot())}
    todo = deque([freeze(empty)])
    while todo:
        frozen = todo.popleft()
        model: ReferenceModel = thaw(frozen)
        before = model.snapshot()
        for operation in operations:
            if not within(scope, before, operation):
                continue
            outcome = model.apply(operation)
            if outcome.status is Status.ERROR:
                continue
            after = model.snapshot()
            yield Edge(before, operation, outcome, after)
            name = digest(after)
            if name not in seen:
                seen.add(name)
                todo.append(freeze(model))
            model = thaw(frozen)
