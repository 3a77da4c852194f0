"""Runs the catalogue: over one state, over one step, or along a whole run.

All violated invariants are reported, not the first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Any, TypeVar

from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE, RANKS, STATE, Invariant, RanksStep, Step
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault, Violation
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Node, Snapshot, Transfer

T = TypeVar("T")
TOO_BROKEN = "the state is too broken to be checked"
STATE_INVARIANTS = tuple(i for i in CATALOGUE.values() if i.kind == STATE)
RANKS_INVARIANTS = tuple(i for i in CATALOGUE.values() if i.kind == RANKS)
STEP_INVARIANTS: dict[type[Operation], tuple[Invariant, ...]] = {}
for _invariant in CATALOGUE.values():
    for _operation in _invariant.operations:
        STEP_INVARIANTS[_operation] = (*STEP_INVARIANTS.get(_operation, ()), _invariant)


def check_state(snapshot: Snapshot) -> list[Violation]:
    """Every state invariant on one state."""
    view = View(snapshot)
    return [v for i in STATE_INVARIANTS if i.state_check for v in _run(i, i.state_check, view)]


def check_step(
    before: Snapshot, operation: Operation, outcome: Outcome, after: Snapshot
) -> list[Violation]:
    """Every step invariant of the operation on one step."""
    rules = STEP_INVARIANTS.get(type(operation), ())
    return _check_step(Step(View(before), operation, outcome, View(after)), rules)


def check_ranks(step: RanksStep) -> list[Violation]:
    """Every invariant of several ranks on one step that they made together."""
    return [v for i in RANKS_INVARIANTS if i.ranks_check for v in _run(i, i.ranks_check, step)]


def _check_step(step: Step, rules: tuple[Invariant, ...]) -> list[Violation]:
    judged = [i for i in rules if i.of_turns or not step.is_of_turn]
    return [v for i in judged if i.step_check for v in _run(i, i.step_check, step)]


def _run(invariant: Invariant, check: Callable[[T], Iterable[Fault]], of: T) -> list[Violation]:
    """What one check says. One that cannot even be evaluated is broken, too."""
    slug, number = invariant.slug, invariant.number
    try:
        return [Violation(slug, number, fault) for fault in check(of)]
    except (IndexError, KeyError, TypeError, ValueError) as problem:
        told = f"{TOO_BROKEN} ({type(problem).__name__}: {problem})"
        return [Violation(slug, number, Fault(told))]


class IncrementalChecker:
    """Checks one run of one subject, state by state.

    A state invariant is evaluated anew only if a field it read last time has changed since;
    its earlier violations (if any) still stand otherwise. ``evaluations`` counts verdicts given,
    ``computed`` those that were not carried over.
    """

    def __init__(self, snapshot: Snapshot, unjudged: Collection[str] = ()) -> None:
        """``unjudged``: slugs that are not evaluated and not counted."""
        self.evaluations = 0
        self.computed = 0
        self._state_rules = [i for i in STATE_INVARIANTS if i.slug not in unjudged]
        self._step_rules = {
            operation: tuple(i for i in rules if i.slug not in unjudged)
            for operation, rules in STEP_INVARIANTS.items()
        }
        self._view = View(snapshot)
        self._reads: dict[str, frozenset[str]] = {}
        self._faults: dict[str, list[Violation]] = {}
        self.violations = self._state(self._view, changed=None)
        """Of the state looked at last, and of the step that led to it."""

    def fork(self) -> IncrementalChecker:
        """A checker that goes its own way from the state looked at last; it counts from zero."""
        other = copy(self)
        other.evaluations = other.computed = 0
        other._reads, other._faults = dict(self._reads), dict(self._faults)
        return other

    def step(self, operation: Operation, outcome: Outcome, after: Snapshot) -> list[Violation]:
        """Look at the next state; every violated invariant, of the state and of the step."""
        view = View(after)
        step = Step(self._view, operation, outcome, view)
        rules = self._step_rules.get(type(operation), ())
        self.evaluations += len(rules)
        self.computed += len(rules)
        found = _check_step(step, rules)
        changed = changed_fields(self._view.snapshot, after)
        self.violations = self._state(view, changed) + found
        self._view = view
        return self.violations

    def carry_over(self, operation: Operation, other: IncrementalChecker) -> list[Violation]:
        """The verdicts of a checker of the same rules on a step identical to one from here."""
        self.evaluations += len(self._step_rules.get(type(operation), ())) + len(self._state_rules)
        self._view, self.violations = other._view, other.violations
        self._reads, self._faults = dict(other._reads), dict(other._faults)
        return self.violations

    def _state(self, view: View, changed: set[str] | None) -> list[Violation]:
        for invariant in self._state_rules:
            check = invariant.state_check
            if check is None:
                continue
            slug = invariant.slug
            if changed is None or self._reads[slug] & changed:
                view.reading = set()
                self._faults[slug] = _run(invariant, check, view)
                self._reads[slug] = frozenset(view.reading)
                self.computed += 1
        self.evaluations += len(self._state_rules)
        return [v for violations in self._faults.values() for v in violations]


def identical(left: Snapshot, right: Snapshot) -> bool:
    """Whether two states are the same in everything an invariant can read."""
    return left == right and not changed_fields(left, right)


def changed_fields(before: Snapshot, after: Snapshot) -> set[str]:
    """Names of the fields that differ, ids and pending marks included."""
    return {name for name in View.FIELDS if not _same(getattr(before, name), getattr(after, name))}


def _same(left: Any, right: Any) -> bool:
    if left is right:
        return True
    if left != right:
        return False
    if not isinstance(left, tuple):
        return True
    return all(_same_ids(a, b) for a, b in zip(left, right, strict=True))


def _same_ids(left: Any, right: Any) -> bool:
    """What ``==`` leaves out of nodes and transfers, since it differs between subjects."""
    if isinstance(left, Node):
        return left is right or (left.id, left.pending) == (right.id, right.pending)
    return not isinstance(left, Transfer) or left.id == right.id
