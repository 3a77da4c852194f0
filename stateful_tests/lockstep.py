"""One subject beside the specification: every oracle after every step.

The oracles: no crash; the same outcome and the same state as the specification (up to slot
numbers); every state and step invariant, on the subject and on the specification itself. Shadow
memory is part of both: a snapshot carries what lies in every slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from time import perf_counter

from radixproof.invariants.catalogue import Step
from radixproof.invariants.checker import IncrementalChecker, identical
from radixproof.invariants.proofs.link import explain
from radixproof.invariants.proofs.slots.link import explain_slots
from radixproof.invariants.view import View
from radixproof.invariants.violation import Violation
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import NAMES, Operation
from radixproof.model.outcome import Outcome, error
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot, agree, disagreements
from radixproof.model.subject import OpenSubject, Subject
from radixproof.model.trace import Trace
from radixproof.stateful_tests.verdict import (
    AGREEMENT,
    CRASH,
    LINKED,
    RELATION,
    Counterexample,
    Finding,
)


@dataclass(slots=True)
class Coverage:
    """What a run did; sums over runs."""

    configurations: int = 0
    steps: int = 0
    evaluations: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operation, outcome kind) -> times."""
    links: Counter[str] = field(default_factory=Counter)
    """Of the steps that were compared with the proved relation: ``LINKED``, or the options of
    the release that put a step beyond it -> times."""

    def add(self, other: Coverage) -> None:
        self.configurations += other.configurations
        self.steps += other.steps
        self.evaluations += other.evaluations
        self.outcomes += other.outcomes
        self.links += other.links


def link(step: Step, who: str, coverage: Coverage) -> list[Finding]:
    """Why a step is no sequence of the transitions that are proved, of the forest or of the slots.

    Counts the step. One that a release's option puts beyond the forest counts under the option's
    name, and is neither held nor at fault.
    """
    forest, slots = explain(step), explain_slots(step)
    faults = [] if forest.beyond else forest.faults
    faults = [*faults, *(f"of the slots: {fault}" for fault in slots.faults)]
    if not faults:
        coverage.links[", ".join(forest.beyond) or LINKED] += 1
    return [Finding(who, RELATION, None, fault) for fault in faults]


Clock = Callable[[str, float], None]
"""Told how many seconds went into a part: model, subject, snapshot, invariants, agreement."""


class Lockstep:
    """Runs operations on a subject and on the specification, and compares."""

    def __init__(
        self,
        config: CacheConfig,
        open_subject: OpenSubject,
        *,
        invariants: bool = True,
        agreement: bool = True,
        relation: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.model = ReferenceModel(config)
        self.subject = open_subject(config)
        self.operations: list[Operation] = []
        self.coverage = Coverage(configurations=1)
        self._clock = clock
        self._invariants = invariants
        self._agreement = agreement
        self._relation = relation
        self._look()

    def _look(self) -> None:
        """Take the present states for where the next step begins."""
        self.state = self.model.snapshot()
        """Of the specification, after the last step."""
        self._seen = self.subject.snapshot()
        self._performed: tuple[Operation, Outcome, Outcome, Snapshot | None] | None = None
        self._alike = identical(self.state, self._seen)
        """Slots and ids included: then invariants, being functions, say the same of both."""
        self._checkers: dict[str, IncrementalChecker] = {}
        if self._invariants:
            self._checkers = {
                self.model.name: IncrementalChecker(self.state),
                self.subject.name: IncrementalChecker(self._seen),
            }

    def step(self, operation: Operation) -> Counterexample | None:
        """Perform one operation on both and judge it; ``None`` if everything holds."""
        self.perform(operation)
        return self.judge()

    def perform(self, operation: Operation) -> None:
        """Apply one operation to the specification and to the subject."""
        with self._timed("model"):
            expected = self.model.apply(operation)
        self.follow(operation, expected)

    def follow(self, operation: Operation, expected: Outcome) -> None:
        """The specification has performed an operation; look at it, and apply it to the subject."""
        self.operations.append(operation)
        with self._timed("model"):
            wanted = self.model.snapshot()
        with self._timed("subject"):
            outcome = self._apply(operation)
        after = None
        if outcome.error is not ErrorKind.INTERNAL:
            with self._timed("snapshot"):
                after = self.subject.snapshot()
        self.coverage.steps += 1
        self.coverage.outcomes[NAMES[type(operation)], expected.kind] += 1
        self.state = wanted
        self._performed = (operation, expected, outcome, after)

    def judge(self) -> Counterexample | None:
        """Everything that is wrong with the last step; ``None`` if nothing, or nothing ran."""
        if self._performed is None:
            return None
        operation, expected, outcome, after = self._performed
        self._performed = None
        if after is None:
            crash = Finding(self.subject.name, CRASH, None, outcome.reason)
            return self._counterexample(operation, outcome, None, [crash])
        with self._timed("agreement"):
            findings = list(self._compare(expected, outcome, after)) if self._agreement else []
        with self._timed("invariants"):
            findings += self._check(operation, expected, outcome, after)
            findings += self._explain(operation, outcome, after) if self._relation else []
        failed = self._counterexample(operation, outcome, after, findings) if findings else None
        self._seen = after
        return failed

    def arrived(
        self, model: ReferenceModel, subject: Subject, operations: Iterable[Operation]
    ) -> Lockstep:
        """A run of the same kind that ``operations`` have brought this far, unjudged."""
        other = copy(self)
        other.model, other.subject = model, subject
        other.operations, other.coverage = list(operations), Coverage()
        other._look()
        return other

    def fork(self, model: ReferenceModel, subject: Subject) -> Lockstep:
        """This run, gone on with on copies of the specification and of the subject."""
        other = copy(self)
        other.model, other.subject = model, subject
        other.operations, other.coverage = list(self.operations), Coverage()
        other._checkers = {name: checker.fork() for name, checker in self._checkers.items()}
        return other

    def close(self) -> Coverage:
        """End the run; what it covered."""
        self.subject.close()
        self.coverage.evaluations = sum(c.evaluations for c in self._checkers.values())
        return self.coverage

    def trace(self, note: str = "") -> Trace:
        return Trace(self.config, tuple(self.operations), note)

    def _apply(self, operation: Operation) -> Outcome:
        try:
            return self.subject.apply(operation)
        except Exception as problem:  # a subject must not raise; if it does, that is the finding
            return error(ErrorKind.INTERNAL, f"{type(problem).__name__}: {problem}")

    def _compare(self, expected: Outcome, outcome: Outcome, after: Snapshot) -> Iterator[Finding]:
        name, wanted = self.subject.name, self.state
        if outcome != expected:
            told = f"outcome {describe(outcome)}, the specification says {describe(expected)}"
            yield Finding(name, AGREEMENT, None, told)
        if not agree(after, wanted):
            for line in disagreements(after, wanted):
                yield Finding(name, AGREEMENT, None, line)

    def _check(
        self, operation: Operation, expected: Outcome, outcome: Outcome, after: Snapshot
    ) -> list[Finding]:
        if not self._invariants:
            return []
        model, subject = self.model.name, self.subject.name
        of_subject = self._checkers[subject].step(operation, outcome, after)
        of_model: list[Violation] = []
        if subject != model:
            alike = identical(self.state, after)
            if alike and self._alike and (expected, expected.slots) == (outcome, outcome.slots):
                of_model = self._checkers[model].carry_over(operation, self._checkers[subject])
            else:
                of_model = self._checkers[model].step(operation, expected, self.state)
            self._alike = alike
        found = [(model, v) for v in of_model] + [(subject, v) for v in of_subject]
        return [Finding(who, v.slug, v, v.fault.message) for who, v in found]

    def _explain(self, operation: Operation, outcome: Outcome, after: Snapshot) -> list[Finding]:
        """Why the subject's step is no sequence of the transitions that are proved."""
        step = Step(View(self._seen), operation, outcome, View(after))
        return link(step, self.subject.name, self.coverage)

    def _counterexample(
        self,
        operation: Operation,
        outcome: Outcome,
        after: Snapshot | None,
        findings: list[Finding],
    ) -> Counterexample:
        return Counterexample(
            trace=self.trace(),
            step=len(self.operations) - 1,
            operation=operation,
            outcome=outcome,
            before=self._seen,
            after=after,
            findings=tuple(findings),
            wanted=self.state,
        )

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        if self._clock is None:
            yield
            return
        begin = perf_counter()
        yield
        self._clock(part, perf_counter() - begin)


def describe(outcome: Outcome) -> str:
    """An outcome in a few words: its kind and its numbers."""
    numbers = ", ".join(f"{name} {value}" for name, value in sorted(outcome.values.items()))
    return f"{outcome.kind} ({numbers})" if numbers else outcome.kind
