"""The catalogue: every invariant under its name, with what a reader needs to know of it.

A family module (structure.py, locks.py, ..., steps/insert.py, ...) declares its invariants with
the two decorators. The function's name is the slug, its docstring the sentence that must hold;
it yields one ``Fault`` per place where the sentence is false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.ranks import Collective

STATE = "state"
STEP = "step"
RANKS = "ranks"
ALWAYS = "always"
WRITE_THROUGH = "under write-through with a host tier"
WRITE_BACK = "under write-back with a host tier"
WITH_HOST = "with a host tier"
WITH_SWA = "with sliding-window attention"
WITH_MAMBA = "with recurrent states"
SEVERAL_RANKS = "with several ranks"
WITH_SESSIONS = "of servers with streaming sessions"
WITH_STORAGE = "with a storage tier"


@dataclass(frozen=True)
class Step:
    """One observed step; ``before`` and ``after`` are states of the same subject."""

    before: View
    operation: Operation
    outcome: Outcome
    after: View

    @cached_property
    def is_of_turn(self) -> bool:
        """Whether the operation is one of a turn of a session, accepted or not."""
        name = getattr(self.operation, "request", "")
        sessions = (*self.before.snapshot.sessions, *self.after.snapshot.sessions)
        return bool(name) and any(name in (s.turn, *s.rejected) for s in sessions)

    @cached_property
    def fragments(self) -> Mapping[int, tuple[int, ...]]:
        """Node before -> the nodes after that it has become, root to leaf; empty: it is gone.

        The lower part of a split keeps the id (I-29); the parts above it are new.
        """
        nodes = self.after.nodes
        by_id = {n.id: i for i, n in enumerate(nodes)}
        found: dict[int, tuple[int, ...]] = {}
        for b, old in enumerate(self.before.nodes):
            parts: list[int] = []
            for i in self.after.path(by_id.get(old.id, -1)):
                if nodes[i].start < old.start:
                    break
                parts.append(i)
            found[b] = tuple(reversed(parts))
        return found

    @cached_property
    def origin(self) -> Mapping[int, int]:
        """Node after -> the node before that it is, or is a part of.

        A part may outlive the rest of its node: an insert splits a host-only node, and the backup
        that it triggers evicts the lower part.
        """
        known = {part: b for b, parts in self.fragments.items() for part in parts}
        gone = [b for b, parts in self.fragments.items() if not parts]
        for i, n in enumerate(self.after.nodes) if gone else ():
            for b in gone if i not in known else ():
                old = self.before.nodes[b]
                inside = old.namespace == n.namespace and old.start <= n.start < old.end
                if inside and old.tokens[: n.end] == n.tokens:
                    known[i] = b
        return known


@dataclass(frozen=True, slots=True)
class RanksStep:
    """One step that all ranks made together. ``outcomes`` and ``after`` are by rank.

    ``after`` is empty where a rank came to no end; ``outcomes`` is, too, of a step of one rank
    alone, such as a copy that runs.
    """

    operation: Operation
    outcomes: tuple[Outcome, ...]
    after: tuple[View, ...]
    calls: tuple[tuple[Collective, ...], ...]
    """By rank; the last of a rank that came to no end is the one that it waits in."""


StateCheck = Callable[[View], Iterator[Fault]]
StepCheck = Callable[[Step], Iterator[Fault]]
RanksCheck = Callable[[RanksStep], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule. By ``kind`` it has one of the three checks."""

    slug: str
    number: str
    """``I-1`` ... of domain.md 7, or ``S-insert-2``: the rule's place among its operation's."""
    kind: str
    sentence: str
    formula: str
    without_it: str
    """What goes wrong when it does not hold."""
    taught_by: str
    """A bug or a known-wrong variant that this catches."""
    holds_under: str
    upstream_name: str | None
    """SGLang's own name for it, where its checker has one."""
    family: str
    """Module that states it, e.g. ``structure`` or ``steps.insert``."""
    operations: tuple[type[Operation], ...]
    """Steps it speaks of; empty: every state, or every step of several ranks."""
    state_check: StateCheck | None = None
    step_check: StepCheck | None = None
    ranks_check: RanksCheck | None = None
    of_turns: bool = True
    """Whether it speaks of turns of sessions, which cache nothing of their own, too."""


CATALOGUE: dict[str, Invariant] = {}
"""Slug -> invariant, in the order of declaration. Filled by importing ``families``."""


def number_judged(ranks: int = 1) -> int:
    """How many invariants speak of a run with so many ranks."""
    return sum(1 for i in CATALOGUE.values() if ranks > 1 or i.kind != RANKS)


def state_invariant(
    number: str,
    *,
    formula: str,
    without_it: str,
    taught_by: str,
    holds_under: str = ALWAYS,
    upstream_name: str | None = None,
) -> Callable[[StateCheck], StateCheck]:
    """Declare a predicate on states."""
    told = _Told(number, formula, without_it, taught_by, holds_under, upstream_name)

    def declare(check: StateCheck) -> StateCheck:
        _add(check, told, STATE, (), state_check=check)
        return check

    return declare


def step_invariant(
    number: str,
    *operations: type[Operation],
    formula: str,
    without_it: str,
    taught_by: str,
    holds_under: str = ALWAYS,
    upstream_name: str | None = None,
    of_turns: bool = True,
) -> Callable[[StepCheck], StepCheck]:
    """Declare a predicate on the steps of ``operations``."""
    told = _Told(number, formula, without_it, taught_by, holds_under, upstream_name)

    def declare(check: StepCheck) -> StepCheck:
        _add(check, told, STEP, operations, step_check=check, of_turns=of_turns)
        return check

    return declare


def ranks_invariant(
    number: str, *, formula: str, without_it: str, taught_by: str
) -> Callable[[RanksCheck], RanksCheck]:
    """Declare a predicate on what several ranks did with the same operation."""
    told = _Told(number, formula, without_it, taught_by, SEVERAL_RANKS, None)

    def declare(check: RanksCheck) -> RanksCheck:
        _add(check, told, RANKS, (), ranks_check=check)
        return check

    return declare


class _Told(NamedTuple):
    """What a declaration says beside the function itself."""

    number: str
    formula: str
    without_it: str
    taught_by: str
    holds_under: str
    upstream_name: str | None


def _add(
    check: Callable[..., object],
    told: _Told,
    kind: str,
    operations: tuple[type[Operation], ...],
    *,
    state_check: StateCheck | None = None,
    step_check: StepCheck | None = None,
    ranks_check: RanksCheck | None = None,
    of_turns: bool = True,
) -> None:
    """Enter an invariant under the function's name."""
    slug = check.__name__.replace("_", "-")
    if slug in CATALOGUE:
        raise ValueError(f"two invariants are called {slug}")
    CATALOGUE[slug] = Invariant(
        slug=slug,
        kind=kind,
        sentence=" ".join((check.__doc__ or "").split()),
        family=check.__module__.removeprefix("radixproof.invariants."),
        operations=operations,
        state_check=state_check,
        step_check=step_check,
        ranks_check=ranks_check,
        of_turns=of_turns,
        **told._asdict(),
    )
