"""Transitions taken one by one in a structure: what every link is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from radixproof.invariants.proofs.finite import Individual, Structure
from radixproof.invariants.proofs.system import Theory


class NotAllowed(Exception):
    """A transition whose guard is false where it would have to happen."""

    def __init__(self, told: str, conjuncts: Iterable[str] = ()) -> None:
        super().__init__(told)
        self.conjuncts = frozenset(conjuncts)


@dataclass(frozen=True, slots=True)
class Taken:
    """One transition of a decomposition, with the individuals it was about."""

    name: str
    about: tuple[Individual, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.about))})"


@dataclass(slots=True)
class Explanation:
    """How a step decomposes; with faults: why it does not."""

    taken: list[Taken]
    faults: list[str] = field(default_factory=list)
    complaints: frozenset[str] = frozenset()
    """Relations that differ at the end, or conjuncts of a guard that are false on the way."""
    beyond: tuple[str, ...] = ()
    """Of a step with faults: options of the release that allow what no transition does. Such a step
    is not linked; it neither holds nor is at fault."""

    @property
    def holds(self) -> bool:
        return not self.faults


class Taking:
    """A structure, and the transitions that have led to it from where it began."""

    def __init__(
        self, theory: Theory, at: Structure, allowed: Collection[str], operation: str
    ) -> None:
        """``allowed``: the transitions that the operation may consist of."""
        self.theory = theory
        self.at = at
        self.allowed = allowed
        self.operation = operation
        self.taken: list[Taken] = []

    def take(self, name: str, *about: Individual) -> None:
        """One transition, if the operation may do such a thing and the guard holds now."""
        told = Taken(name, about)
        if name not in self.allowed:
            raise NotAllowed(f"{told} is no part of {self.operation}")
        transition = self.theory.transition(name)
        given = dict(zip(transition.parameters, about, strict=True))
        failing = self.at.failing(transition, given)
        if failing:
            raise NotAllowed(f"{told} is not allowed: not {', '.join(failing)}", failing)
        self.at = self.at.after(transition.updates, given)
        self.taken.append(told)
