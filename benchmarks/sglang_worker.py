"""A worker process that also takes the time: walks as they are judged, part by part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time
from typing import Any

from radixproof.invariants.checker import IncrementalChecker
from radixproof.invariants.violation import Violation
from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.dialect import unjudged
from radixproof.stateful_tests.sglang.reach import Reach
from radixproof.stateful_tests.sglang.solo import SelfCheckingSubject, Solo
from radixproof.stateful_tests.sglang.walk import one_walk
from radixproof.stateful_tests.sglang.worker import Worker, limits_from, main


class Clock:
    """Processor seconds by part, which no other load of the machine changes. Parts do not nest."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        begin = process_time()
        try:
            yield
        finally:
            self.spent[part] += process_time() - begin


class TimedSubject:
    """A subject under a clock, and the operations that really reached it."""

    def __init__(self, subject: SelfCheckingSubject, clock: Clock) -> None:
        self.subject, self.clock, self.name = subject, clock, subject.name
        self.applied: list[Operation] = []
        self.traceback = ""

    def apply(self, operation: Operation) -> Outcome:
        self.applied.append(operation)
        with self.clock.on("subject"):
            outcome = self.subject.apply(operation)
        self.traceback = self.subject.traceback
        return outcome

    def snapshot(self) -> Snapshot:
        with self.clock.on("look"):
            return self.subject.snapshot()

    def check_itself(self) -> str | None:
        with self.clock.on("own check"):
            return self.subject.check_itself()

    def close(self) -> None:
        self.subject.close()


class TimedChecker(IncrementalChecker):
    """The invariants under a clock."""

    clock: Clock

    def step(self, operation: Operation, outcome: Outcome, after: Snapshot) -> list[Violation]:
        with self.clock.on("invariants"):
            return super().step(operation, outcome, after)


class TimedWorker(Worker):
    """Beside what a worker does:

    {"do": "timed", "first": 0, "count": 50, ...}  walks under a clock, then their operations alone
    """

    def _timed(self, first: int, count: int, limits: dict[str, Any], steps: int) -> None:
        clock, shape = Clock(), self.searcher.shape
        coverage, begin, failing = Coverage(), process_time(), 0
        walked: list[tuple[CacheConfig, TimedSubject]] = []

        def make(config: CacheConfig, reach: Reach) -> Solo:
            with clock.on("opening"):
                subject = TimedSubject(self.open(config), clock)
            walked.append((config, subject))
            run = TimedSolo(config, subject, clock, self.searcher.options, reach)
            run.journal = timed_journal(self.journal, clock)
            return run

        for seed in range(first, first + count):
            found = one_walk(make, seed, limits_from(limits), shape, steps=steps, coverage=coverage)
            failing += found is not None
        judged = process_time() - begin
        alone, operations = self._alone(walked)
        self.say(
            "done",
            steps=coverage.steps,
            failing=failing,
            spent=dict(clock.spent),
            judged=judged,
            alone=alone,
            operations=operations,
        )

    def _alone(self, walked: list[tuple[CacheConfig, TimedSubject]]) -> tuple[float, int]:
        """The same operations on new caches, nothing around them: processor seconds, operations."""
        seconds, operations = 0.0, 0
        for config, timed in walked:
            subject = self.open(config)
            begin = process_time()
            for operation in timed.applied:
                subject.apply(operation)
            seconds += process_time() - begin
            operations += len(timed.applied)
        return seconds, operations


class TimedSolo(Solo):
    """A run whose subject and checker are under a clock."""

    def __init__(
        self,
        config: CacheConfig,
        subject: TimedSubject,
        clock: Clock,
        options: frozenset[str],
        reach: Reach,
    ) -> None:
        left_out = unjudged(options, config.write_policy)
        super().__init__(config, lambda _: subject, left_out, reach=reach)
        checker = TimedChecker(self.state, left_out)
        checker.clock = clock
        self._checker = checker


def timed_journal(
    journal: Callable[[CacheConfig | Operation], None], clock: Clock
) -> Callable[[Operation], None]:
    def told(operation: Operation) -> None:
        with clock.on("ipc"):
            journal(operation)

    return told


if __name__ == "__main__":
    main(TimedWorker)
