"""A progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from radixproof.stateful_tests.lockstep import Coverage

EVERY = 20.0
"""Seconds between two lines where there is no terminal."""


class Meter:
    """Shows how far the work is and how fast."""

    def __init__(self, bar: Progress | None, title: str) -> None:
        self.bar = bar
        self.title = title
        self.begin = monotonic()
        self.shown = self.begin
        self.task = bar.add_task(title, total=1.0, rate="") if bar is not None else None

    def __call__(self, done: float, coverage: Coverage) -> None:
        """``done`` from 0 to 1."""
        spent = monotonic() - self.begin
        self.show(done, f"{coverage.steps} steps, {coverage.steps / max(spent, 1e-6):.0f}/s")

    def show(self, done: float, rate: str) -> None:
        """``done`` from 0 to 1, and the rest in words."""
        now = monotonic()
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, rate=rate)
        elif now - self.shown >= EVERY:
            self.shown = now
            print(f"{self.title}: {done:.0%}, {rate}", file=sys.stderr, flush=True)


@contextmanager
def meter(title: str) -> Iterator[Meter]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Meter(None, title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Meter(bar, title)
