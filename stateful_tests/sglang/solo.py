"""A release by itself: every oracle that needs no model, after every step.

No crash; every state and step invariant that the release's state can show (dialect.py names the
rest); shadow memory, which is part of the snapshot; the release's own ``sanity_check``.

A run may go past a wrong *step* that is known already (passable.py), if the state it leads to
satisfies every state invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from radixproof.invariants.catalogue import Step
from radixproof.invariants.checker import IncrementalChecker
from radixproof.invariants.view import View
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import NAMES, Operation
from radixproof.model.outcome import Outcome, error
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.lockstep import Coverage, link
from radixproof.stateful_tests.sglang.history import History
from radixproof.stateful_tests.sglang.legal.use import why_illegal
from radixproof.stateful_tests.sglang.passable import passable
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK, Counterexample, Finding


class SelfCheckingSubject(Protocol):
    """A subject that has a check of its own."""

    name: str
    traceback: str

    def apply(self, operation: Operation) -> Outcome: ...

    def snapshot(self) -> Snapshot: ...

    def check_itself(self) -> str | None: ...

    def close(self) -> None: ...


OpenSelfChecking = Callable[[CacheConfig], SelfCheckingSubject]


class Solo(History):
    """Runs operations on one subject and judges what it shows."""

    def __init__(
        self,
        config: CacheConfig,
        open_subject: OpenSelfChecking,
        left_out: Collection[str],
        *,
        reach: Reach = DEFAULT,
        relation: bool = False,
        journal: Callable[[Operation], None] | None = None,
        past: Collection[str] = (),
    ) -> None:
        """``journal`` is told each operation before it runs; with ``relation`` every step is also
        explained by the transitions that are proved. ``past``: slugs to go past."""
        super().__init__(config)
        self.subject = open_subject(config)
        self.reach = reach
        self.relation = relation
        self.journal = journal
        self.past = past
        self.coverage = Coverage(configurations=1)
        self.state = self._snapshot()
        """Of the subject, after the last step."""
        self._checker = IncrementalChecker(self.state, left_out)

    def step(self, operation: Operation) -> Counterexample | None:
        """Perform one operation and judge it; an illegal one is refused and nothing runs."""
        if self.journal is not None:
            self.journal(operation)
        illegal = why_illegal(self.state, operation, self.reach)
        outcome = error(ErrorKind.ARGUMENT, illegal) if illegal else self.subject.apply(operation)
        self.operations.append(operation)
        self.coverage.steps += 1
        self.coverage.outcomes[NAMES[type(operation)], outcome.kind] += 1
        if illegal:
            return None
        before = self.state
        if outcome.error is ErrorKind.INTERNAL:
            told = outcome.reason + ("\n" + self.subject.traceback).rstrip()
            return self._counterexample(operation, outcome, before, None, [_crash(self, told)])
        try:
            after = self._snapshot()
        except Exception as problem:
            told = f"the state cannot be read: {type(problem).__name__}: {problem}"
            return self._counterexample(operation, outcome, before, None, [_crash(self, told)])
        violations = self._checker.step(operation, outcome, after)
        name = self.subject.name
        findings = [Finding(name, v.slug, v, v.fault.message) for v in violations]
        if self.relation:
            step = Step(View(before), operation, outcome, View(after))
            findings += link(step, name, self.coverage)
        if not after.loads:  # the release's own check is for a state without load-backs
            complaint = self.subject.check_itself()
            if complaint is not None:
                findings.append(Finding(name, OWN_CHECK, None, complaint))
        self.state = after
        if not findings:
            return None
        if all(f.slug in self.past and passable(f) for f in findings):
            self.gone_past |= {f.slug for f in findings}
            return None
        return self._counterexample(operation, outcome, before, after, findings)

    @property
    def states(self) -> list[Snapshot]:
        """By rank: there is one."""
        return [self.state]

    def _snapshot(self) -> Snapshot:
        state = self.subject.snapshot()
        promised = state.options.union(self.reach.promised)
        return state if promised == state.options else replace(state, options=promised)

    def close(self) -> Coverage:
        """End the run; what it covered."""
        self.subject.close()
        self.coverage.evaluations = self._checker.evaluations
        return self.coverage


def _crash(run: Solo, told: str) -> Finding:
    return Finding(run.subject.name, CRASH, None, told)
