"""All edges of one state, each run on the specification and on the subject and judged there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from radixproof.model.outcome import Status
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject, Subject
from radixproof.stateful_tests.explore.canonical import digest
from radixproof.stateful_tests.explore.copies import freeze, thaw
from radixproof.stateful_tests.explore.operations import universe, within
from radixproof.stateful_tests.explore.scope import Scope
from radixproof.stateful_tests.lockstep import Lockstep
from radixproof.stateful_tests.verdict import Counterexample

Path = tuple[int, ...]
"""The operations that lead from the empty cache to a state, by their places in the universe."""


@dataclass(slots=True)
class Expansion:
    """What lies one operation beyond a state."""

    reached: dict[bytes, int] = field(default_factory=dict)
    """Digest of a state -> the first operation that leads there, in the order of the universe."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operation, outcome kind) -> edges."""
    executed: int = 0
    """Edges that the subject performed and that were judged."""
    evaluations: int = 0
    counterexample: Counterexample | None = None


class Frozen(NamedTuple):
    """A state of the specification and of the subject, as bytes."""

    model: bytes
    subject: bytes


class Expander:
    """Brings both to a state by the operations that lead there, and tries all others from it.

    Neighbours in breadth-first order have most of their paths in common, so the way to the state
    expanded last is kept.
    """

    def __init__(self, scope: Scope, open_subject: OpenSubject) -> None:
        self.scope = scope
        self.operations = universe(scope)
        self.start = Lockstep(scope.config, open_subject)
        self.way: list[int] = []
        self.frozen = [self._freeze(self.start.model, self.start.subject)]

    def expand(self, path: Path) -> Expansion:
        """Every legal operation from the state at the end of ``path``."""
        here = self.reach(path)
        expansion = Expansion()
        for place, run in self._edges(path, here):
            edge = run.judge()
            run.close()
            expansion.executed += 1
            expansion.evaluations += run.coverage.evaluations
            expansion.outcomes += run.coverage.outcomes
            if edge is not None:
                expansion.counterexample = edge
                break
            expansion.reached.setdefault(digest(run.state), place)
        return expansion

    def reach(self, path: Path) -> Frozen:
        """The state at the end of a path, from where the paths last parted."""
        common = 0
        while common < min(len(path), len(self.way)) and path[common] == self.way[common]:
            common += 1
        del self.way[common:], self.frozen[common + 1 :]
        if common < len(path):
            model, subject = thaw(self.frozen[-1].model), thaw(self.frozen[-1].subject)
            for place in path[common:]:
                model.apply(self.operations[place])
                subject.apply(self.operations[place])
                self.way.append(place)
                self.frozen.append(self._freeze(model, subject))
        return self.frozen[-1]

    def _edges(self, path: Path, here: Frozen) -> Iterator[tuple[int, Lockstep]]:
        """Per legal operation its place, and a run that has performed it but not judged it.

        Legality is the specification's: an illegal operation changes nothing, so the copy that
        refused it serves the next one.
        """
        model: ReferenceModel = thaw(here.model)
        way = [self.operations[place] for place in path]
        origin = self.start.arrived(model, thaw(here.subject), way)
        for place, operation in enumerate(self.operations):
            if not within(self.scope, origin.state, operation):
                continue
            expected = model.apply(operation)
            if expected.status is Status.ERROR:
                continue
            run = origin.fork(model, thaw(here.subject))
            run.follow(operation, expected)
            yield place, run
            model = thaw(here.model)

    @staticmethod
    def _freeze(model: ReferenceModel, subject: Subject) -> Frozen:
        return Frozen(freeze(model), freeze(subject))
