"""Breadth first over a scope: every state once, every edge run and judged, shortest first.

Several processes expand states; one merges what they bring in the order of the states, so numbers,
counts and the counterexample are the same for any number of processes.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from time import monotonic
from typing import ClassVar

import torch

from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.explore.canonical import digest
from radixproof.stateful_tests.explore.errors import CopyDiffers, WorkerDied
from radixproof.stateful_tests.explore.expansion import Expander, Expansion, Path
from radixproof.stateful_tests.explore.memory import resident
from radixproof.stateful_tests.explore.scope import Scope
from radixproof.stateful_tests.explore.states import NOWHERE, States
from radixproof.stateful_tests.explore.store import Progress, Store
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.verdict import Counterexample

BATCH = 16
"""Neighbouring states that one process expands in one go."""
SAVE_EVERY = 10.0
"""Seconds."""


@dataclass(slots=True)
class Report:
    """The verdict, and what it rests on."""

    scope: Scope
    states: int
    frontier: int
    """States that were found and not expanded; 0: the scope is exhausted."""
    progress: Progress
    counterexample: Counterexample | None = None
    interrupted: bool = False
    full: bool = False
    """The memory it was allowed is used up."""

    @property
    def exhausted(self) -> bool:
        return self.frontier == 0 and self.counterexample is None


Watcher = Callable[[States, Progress], None]
"""Told now and then how far the search is."""


def explore(
    scope: Scope,
    open_subject: OpenSubject,
    *,
    jobs: int = 1,
    store: Store | None = None,
    limit: int | None = None,
    memory: int | None = None,
    watch: Watcher | None = None,
) -> Report:
    """Explore a scope until it is exhausted, something breaks, or ``limit`` states are expanded.

    An interrupt ends it, too, and so does the use of more than ``memory`` bytes by all processes;
    with a store, what was done is kept and gone on with next time. Raises ``ExploreError``.
    """
    search = _Search(scope, open_subject, store, limit, memory, watch)
    with _workers(scope, open_subject, jobs) as submit:
        search.run(submit, 2 * jobs)
    return search.report()


class _Search:
    def __init__(
        self,
        scope: Scope,
        open_subject: OpenSubject,
        store: Store | None,
        limit: int | None,
        memory: int | None,
        watch: Watcher | None,
    ) -> None:
        self.scope = scope
        self.open_subject = open_subject
        self.store = store
        self.limit = limit
        self.memory = memory
        self.watch = watch
        self.states, self.progress = store.load() if store else (States(), Progress())
        self.before = self.progress.seconds
        self.begin = self.saved = monotonic()
        self.counterexample: Counterexample | None = None
        self.interrupted = self.full = False
        if not self.states:
            empty = Expander(scope, open_subject).start
            self.states.add(digest(empty.state), NOWHERE, 0)
            self.progress.levels = [1]

    def run(self, submit: Callable[[list[Path]], Future[list[Expansion]]], ahead: int) -> None:
        """Keep ``ahead`` batches on their way; take them in order."""
        waiting: deque[Future[list[Expansion]]] = deque()
        todo = self._batches()
        try:
            for batch in todo:
                if batch:
                    waiting.append(submit([self.states.path(number) for number in batch]))
                if len(waiting) >= ahead or not batch:
                    if not waiting:
                        break
                    self._merge(waiting.popleft().result())
                if self.counterexample is not None or self.full:
                    break
        except KeyboardInterrupt:
            self.interrupted = True
        except BrokenProcessPool:
            raise WorkerDied("a process was ended from outside, for want of memory?") from None
        finally:
            for future in waiting:
                future.cancel()
            self._save()

    def _batches(self) -> Iterator[range]:
        """States to expand, in order; an empty batch where it must be waited for more."""
        begin = self.progress.expanded
        while True:
            end = min(len(self.states), begin + BATCH)
            if self.limit is not None:
                end = min(end, self.limit)
            yield range(begin, end)
            begin = max(begin, end)

    def _merge(self, expansions: list[Expansion]) -> None:
        for expansion in expansions:
            self._take(expansion)
            if self.counterexample is not None:
                return
        self.full = self.memory is not None and resident() + self.states.headroom > self.memory
        now = monotonic()
        self.progress.seconds = self.before + now - self.begin
        if self.watch is not None:
            self.watch(self.states, self.progress)
        if now - self.saved >= SAVE_EVERY:
            self._save()
            self.saved = now

    def _take(self, expansion: Expansion) -> None:
        """The edges of the state whose turn it is."""
        progress, number = self.progress, self.progress.expanded
        progress.edges += sum(expansion.outcomes.values())
        progress.executed += expansion.executed
        progress.evaluations += expansion.evaluations
        progress.outcomes += expansion.outcomes
        if expansion.counterexample is not None:
            self.counterexample = self._confirmed(expansion.counterexample)
            return
        new = self.states.unknown(list(expansion.reached))
        for state in new:
            self.states.add(state, number, expansion.reached[state])
        progress.expanded += 1
        if progress.expanded == sum(progress.levels) and len(self.states) > progress.expanded:
            progress.levels.append(len(self.states) - progress.expanded)

    def _confirmed(self, found: Counterexample) -> Counterexample:
        """What the empty cache shows when the trace is run on it, without any copy."""
        again = replay(found.trace, self.open_subject)
        if again is None:
            raise CopyDiffers(
                f"{', '.join(found.slugs)}: seen on a copy of the subject after"
                f" {len(found.trace.operations)} operations, not in their replay"
            )
        return again

    def _save(self) -> None:
        self.progress.seconds = self.before + monotonic() - self.begin
        if self.store is not None:
            self.store.save(self.states, self.progress)
        else:
            self.states.unsaved.clear()

    def report(self) -> Report:
        return Report(
            self.scope,
            len(self.states),
            len(self.states) - self.progress.expanded,
            self.progress,
            self.counterexample,
            self.interrupted,
            self.full,
        )


# Processes


class _Worker:
    """What a process keeps from batch to batch."""

    expander: ClassVar[Expander]

    @classmethod
    def start(cls, scope: Scope, open_subject: OpenSubject) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the one who merges
        torch.set_num_threads(1)
        cls.expander = Expander(scope, open_subject)

    @classmethod
    def expand(cls, paths: list[Path]) -> list[Expansion]:
        return _expand_all(cls.expander, paths)


def _expand_all(expander: Expander, paths: list[Path]) -> list[Expansion]:
    expansions: list[Expansion] = []
    for path in paths:
        expansions.append(expander.expand(path))
        if expansions[-1].counterexample is not None:
            break
    return expansions


@contextmanager
def _workers(
    scope: Scope, open_subject: OpenSubject, jobs: int
) -> Iterator[Callable[[list[Path]], Future[list[Expansion]]]]:
    """Something that expands batches: other processes, or this one."""
    if jobs == 1:
        expander = Expander(scope, open_subject)

        def here(paths: list[Path]) -> Future[list[Expansion]]:
            done: Future[list[Expansion]] = Future()
            done.set_result(_expand_all(expander, paths))
            return done

        yield here
        return
    with ProcessPoolExecutor(
        jobs, get_context("fork"), _Worker.start, (scope, open_subject)
    ) as pool:
        yield lambda paths: pool.submit(_Worker.expand, paths)
