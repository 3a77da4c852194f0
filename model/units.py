"""Units: what the tree's keys are made of (domain.md 2).

A unit is one token, or with bigram keys (EAGLE) a pair of adjacent tokens, written as one number
that is larger than any token.
Operations and requests speak of tokens; nodes speak of units. ``k + 1`` tokens have ``k`` pairs.
"""

from __future__ import annotations

from itertools import pairwise

BITS = 31
"""Token ids fit into so many bits."""


def units(tokens: tuple[int, ...], bigram: bool) -> tuple[int, ...]:
    """The units of a token sequence."""
    return tuple(a + 1 << BITS | b for a, b in pairwise(tokens)) if bigram else tokens


def are_pairs(units: tuple[int, ...]) -> bool:
    return bool(units) and units[0] >> BITS > 0


def positions(units: tuple[int, ...]) -> tuple[int, ...]:
    """The token at each unit's position: itself, or the first of its pair."""
    return tuple((u >> BITS) - 1 for u in units) if are_pairs(units) else units


def raw_tokens(units: tuple[int, ...]) -> tuple[int, ...]:
    """The token sequence that has exactly these units."""
    if not are_pairs(units):
        return units
    return (*positions(units), units[-1] & ((1 << BITS) - 1))
