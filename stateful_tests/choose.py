"""Where choices come from: bytes that Hypothesis drew, or a seeded generator.

Whatever is generated goes through this one interface, so that the machine and the framework-free
walk reach the same states by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

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


class BytesChooser:
    """Choices read off a string of bytes that Hypothesis drew: one draw for a whole operation.

    A draw for each choice costs more than everything that is checked afterwards. Zeros make the
    simplest choices, also where the bytes are used up.
    """

    def __init__(self, choices: bytes) -> None:
        self._left = int.from_bytes(choices, "little")

    def integer(self, low: int, high: int) -> int:
        self._left, chosen = divmod(self._left, high - low + 1)
        return low + chosen

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent
