"""Stand-ins for the threads of the storage tier and for their clock.

Contract kept: a worker is a thread that runs the release's own thread function, beside the
scheduler and the other workers; a queue hands items over in order; waiting for an empty queue may
end with ``Empty``; joining waits until the function has returned.

What is free on a server is free here: a worker goes on at any moment, and the trace says when. It
stops where it waits for its queue and before each call to the store, and only one thread runs at a
time, so the same trace gives the same run. Time passes when the trace says so.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

IDLE = ""
"""A worker that waits for its queue."""


class Unreachable(OSError):
    """The store does not answer: the one exception that a worker is meant to live with."""


class Stopped(BaseException):
    """The cache was closed: the thread ends wherever it stands."""


class Worker(threading.Thread):
    """A thread that runs only while somebody waits for it."""

    made: ClassVar[list[Worker]] = []
    """All that were started, until somebody closes them."""

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        super().__init__(daemon=True)
        self._function = target
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._closing = False
        self.at = IDLE
        """What it does next: ``IDLE``, or the name of a call to the store."""
        self.inbox: Queue | None = None
        """The queue that it waits for."""
        self.hand: Any = None
        """What it took from its queue last."""
        self.pages: int | None = None
        self.raises = False
        """What the store does with the next call (model/storage_operations.py)."""
        self.problem: BaseException | None = None
        """What ended its function before its time."""
        self.over = False

    def start(self) -> None:
        """Run up to the first wait."""
        Worker.made.append(self)
        super().start()
        self._wait_until_it_stops()

    def run(self) -> None:
        try:
            self._go.acquire()
            self._function()
        except Stopped:
            pass
        except BaseException as problem:
            self.problem = problem
        finally:
            self.over, self.inbox = True, None
            self._stopped.release()

    def go_on(self, pages: int | None = None, *, raises: bool = False) -> None:
        """Run up to the next wait. Raises what ended the thread's function, if it did."""
        self.pages, self.raises = pages, raises
        self._wait_until_it_stops()
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem

    def _wait_until_it_stops(self) -> None:
        self._go.release()
        self._stopped.acquire()

    def wait(self, at: str, inbox: Queue | None = None) -> None:
        """Called by the thread itself: let the others run."""
        self.at, self.inbox = at, inbox
        self._stopped.release()
        self._go.acquire()
        if self._closing:
            raise Stopped

    @property
    def can_go_on(self) -> bool:
        if self.over:
            return False
        return bool(self.at) or (self.inbox is not None and not self.inbox.empty())

    def join(self, timeout: float | None = None) -> None:
        """Let it run to its end; a call to the store that it is in ends first."""
        while not self.over and self.ident is not None:
            self._wait_until_it_stops()
        if self.ident is not None:
            super().join(timeout)

    def close(self) -> None:
        """End it wherever it stands."""
        self._closing = True
        if self.ident is not None and not self.over:
            self._wait_until_it_stops()
            super().join()


class Queue(queue.Queue):  # type: ignore[type-arg]
    """A queue from which workers take one item each time they go on."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        worker = this_worker()
        if worker is None or not block:
            return super().get(block, timeout)
        worker.hand = None
        worker.wait(IDLE, self)
        worker.hand = super().get(block=False)  # Empty: the wait timed out
        return worker.hand


def this_worker() -> Worker | None:
    """The worker that is running; ``None``: the scheduler is."""
    thread = threading.current_thread()
    return thread if isinstance(thread, Worker) else None


class Log:
    """What a worker's modules take for their ``logger``.

    They log what a call to the store raised, and go on. Any other exception that they swallow there
    is one that nobody would see; here it ends the step.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def exception(self, *_: Any, **__: Any) -> None:
        problem, worker = sys.exc_info()[1], this_worker()
        if worker is not None and problem is not None and not isinstance(problem, Unreachable):
            worker.problem = problem

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


class Threading:
    """What the release takes for ``threading``."""

    Thread = Worker

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class Clock:
    """What the release takes for ``time``: it stands still until the trace moves it."""

    def __init__(self) -> None:
        self.seconds = 0

    def monotonic(self) -> float:
        return float(self.seconds)

    perf_counter = monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


THREADING, CLOCK = Threading(), Clock()
