"""Several ranks of a release, step by step: each judged like one alone, and all against each other.

Beside every oracle of solo.py on every rank: what the ranks call and show is the same
(invariants/ranks.py). A rank acknowledges what has finished on all of them, so polling is judged as
if it had been limited to that (``Observe.limit``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from radixproof.impl.sglang.ranks.subject import Performed, RankedSubject, RankEnded, Together
from radixproof.invariants.catalogue import RanksStep
from radixproof.invariants.checker import RANKS_INVARIANTS, IncrementalChecker, check_ranks
from radixproof.invariants.view import View
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.operations import NAMES, Operation
from radixproof.model.outcome import Outcome, error
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.history import History
from radixproof.stateful_tests.sglang.legal import ranks
from radixproof.stateful_tests.sglang.passable import passable
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK, Counterexample, Finding

OpenRanked = Callable[[CacheConfig], RankedSubject]


class RankedRun(History):
    """Runs operations on all ranks of a release and judges what they show."""

    def __init__(
        self,
        config: CacheConfig,
        open_subject: OpenRanked,
        left_out: Collection[str],
        *,
        reach: Reach = DEFAULT,
        journal: Callable[[Operation], None] | None = None,
        past: Collection[str] = (),
    ) -> None:
        """As of ``Solo`` (solo.py)."""
        super().__init__(config)
        self.subject = open_subject(config)
        self.reach = reach
        self.journal = journal
        self.past = past
        self.coverage = Coverage(configurations=1)
        self.states = list(self.subject.states)
        """By rank, after the last step."""
        self._checkers = [IncrementalChecker(state, left_out) for state in self.states]
        self._left_out = left_out
        self._apart = False

    @property
    def state(self) -> Snapshot:
        """What stands for all ranks where they must agree."""
        return self.states[0]

    def why_illegal(self, operation: Operation) -> str | None:
        """The reason why no server would do this here; ``None``: it is a legal use."""
        return ranks.why_illegal(self.states, operation, self.reach)

    def step(self, operation: Operation) -> Counterexample | None:
        """Perform one operation and judge it; an illegal one is refused and nothing runs."""
        if self.journal is not None:
            self.journal(operation)
        illegal = self.why_illegal(operation)
        self.operations.append(operation)
        self.coverage.steps += 1
        if illegal:
            self._count(operation, error(ErrorKind.ARGUMENT, illegal))
            return None
        before = list(self.states)
        try:
            together = self.subject.apply(operation)
        except RankEnded as end:
            who = f"{self.subject.name}, rank {end.rank}"
            found = Finding(who, CRASH, None, f"the process {end.told}")
            return self._counterexample(operation, None, before[end.rank], None, [found])
        done = together.performed
        outcome = next(iter(done.values())).outcome if done else None
        if outcome is not None:
            self._count(operation, outcome)
        findings = list(self._judged(before, operation, together))
        if not findings:
            return None
        self._apart = True
        whole = len(done) > 0 and all(p.after is not None for p in done.values())
        if whole and all(f.slug in self.past and passable(f) for f in findings):
            self.gone_past |= {f.slug for f in findings}
            return None
        rank = next((r for r in range(len(before)) if f"rank {r}" in findings[0].who), 0)
        after = self.states[rank] if whole else None
        return self._counterexample(operation, outcome, before[rank], after, findings)

    def close(self) -> Coverage:
        """End the run; what it covered."""
        if self._apart:
            self.subject.give_up()
        self.coverage.evaluations += sum(c.evaluations for c in self._checkers)
        return self.coverage

    # Judging

    def _judged(
        self, before: list[Snapshot], operation: Operation, together: Together
    ) -> Iterator[Finding]:
        judged_as = _as_one_sees_it(operation, before)
        for rank, performed in together.performed.items():
            yield from self._of_one(rank, judged_as, performed)
        if all(p.after is not None for p in together.performed.values()):
            yield from self._of_all(operation, together)

    def _of_one(self, rank: int, operation: Operation, performed: Performed) -> Iterator[Finding]:
        who = f"{self.subject.name}, rank {rank}"
        if performed.after is None:
            told = performed.outcome.reason + ("\n" + performed.traceback).rstrip()
            yield Finding(who, CRASH, None, told)
            return
        violations = self._checkers[rank].step(operation, performed.outcome, performed.after)
        self.states[rank] = performed.after
        yield from (Finding(who, v.slug, v, v.fault.message) for v in violations)
        if performed.complaint is not None:
            yield Finding(who, OWN_CHECK, None, performed.complaint)

    def _of_all(self, operation: Operation, together: Together) -> Iterator[Finding]:
        done = together.performed
        ended = all(rank in done or not calls for rank, calls in enumerate(together.calls))
        alone = isinstance(operation, op.Execute)
        step = RanksStep(
            operation,
            () if alone else tuple(done[r].outcome for r in sorted(done)),
            tuple(map(View, self.states)) if ended else (),
            together.calls,
        )
        self.coverage.evaluations += len(RANKS_INVARIANTS)
        for v in check_ranks(step):
            if v.slug not in self._left_out:
                yield Finding(self.subject.name, v.slug, v, v.fault.message)

    def _count(self, operation: Operation, outcome: Outcome) -> None:
        self.coverage.outcomes[NAMES[type(operation)], outcome.kind] += 1


def _as_one_sees_it(operation: Operation, before: list[Snapshot]) -> Operation:
    """What each rank does by itself in an operation of all of them."""
    if isinstance(operation, op.Observe):
        return replace(operation, limit=min(ranks.finished(s, operation.stream) for s in before))
    if isinstance(operation, op.Execute):
        return replace(operation, rank=None)
    return operation
