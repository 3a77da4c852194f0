"""The relation searched the readable way: one state at a time."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.stateful_tests.explore.residency.relation import Pattern, Residency


@dataclass(frozen=True, slots=True)
class Count:
    """What a search found. Programs that search the same relation must find the same."""

    states: int
    transitions: int
    depth: int
    broken: tuple[str, ...] = ()
    """Names of the invariants that a reachable state violates."""


def reachable(relation: Residency) -> tuple[set[int], Count]:
    """All states that can be reached from the empty tree, breadth first."""
    seen, level = {0}, [0]
    transitions = depth = 0
    broken: set[str] = set()
    while level:
        reached = []
        for state in level:
            broken.update(violated(relation, state))
            for rule in relation.rules:
                if rule.guard.matches(state):
                    transitions += 1
                    after = rule.apply(state)
                    if after not in seen:
                        seen.add(after)
                        reached.append(after)
        level = reached
        depth += bool(level)
    return seen, Count(len(seen), transitions, depth, tuple(sorted(broken)))


def violated(relation: Residency, state: int) -> list[str]:
    found: list[Pattern] = [p for p in relation.never if p.matches(state)]
    return [p.name for p in found]
