"""Where choices come from: Hypothesis, which shrinks them, or a seeded generator, which is fast.

Whatever is generated goes through this one interface, so that the machine and the framework-free
walk reach the same states by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Chooser(Protocol):
    """Choices; the first option is the simplest one."""

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both possible."""
        ...

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; there is at least one."""
        ...

    def chance(self, percent: int) -> bool:
        """True in so many percent of cases."""
        ...


class RandomChooser:
    """Choices of a seeded generator."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def integer(self, low: int, high: int) -> int:
        return low + int(self.rng.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def chance(self, percent: int) -> bool:
        return self.rng.random() * 100 < percent


class HypothesisChooser:
    """Choices drawn from Hypothesis; zero and the first option are what it shrinks to."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return low if low == high else int(self._draw(_integers(low, high)))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent


_cache: dict[tuple[int, int], st.SearchStrategy[int]] = {}


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    """Strategies are costly to make and cheap to use again."""
    if (low, high) not in _cache:
        _cache[low, high] = st.integers(low, high)
    return _cache[low, high]
