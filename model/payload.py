"""Shadow memory: the payload that a token's slot must hold (domain.md 4.7).

KV of a token depends on its namespace and on every token up to itself, so a payload is a
48-bit tag chained over the prefix. A subject writes it into every layer of the token's
slot and copies it like any KV; reading it back says which prefix a slot really holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

NEVER_WRITTEN = 0
"""Tag of a slot that nothing was written into since the pool was made."""
TORN = -1
"""Tag of a slot whose layers or elements do not belong to one payload."""

_UNKNOWN = -1
"""In place of a token that nobody has sampled yet."""

_MASK = (1 << 48) - 1


def namespace_tag(namespace: str) -> int:
    """The tag that the chain of a namespace starts from."""
    return _mix(0x5BF0_3635, crc32(namespace.encode()) + 1)


def next_tag(previous: int, token: int) -> int:
    """The tag of a prefix one token longer than the one tagged ``previous``."""
    return _mix(previous, token + 1)


def tags(previous: int, tokens: Iterable[int]) -> tuple[int, ...]:
    """One tag per token, chained after ``previous``."""
    chain = []
    for token in tokens:
        previous = _mix(previous, token + 1)
        chain.append(previous)
    return tuple(chain)


def prefix_tags(namespace: str, tokens: Iterable[int]) -> tuple[int, ...]:
    """The tags that positions 0, 1, ... of ``tokens`` in ``namespace`` must hold."""
    return tags(namespace_tag(namespace), tokens)


def kv_tags(namespace: str, tokens: Sequence[int], count: int, *, bigram: bool) -> tuple[int, ...]:
    """The tags that the first ``count`` positions of ``tokens`` must hold.

    With bigram keys the slot of a position holds the draft model's KV too, which is computed from
    the token after it as well: it belongs to one more token, and where that is not known yet it is
    provisional, written again when it is.
    """
    if not bigram:
        return prefix_tags(namespace, tokens[:count])
    found = prefix_tags(namespace, tokens[: count + 1])
    if len(found) <= count:
        last = found[-1] if found else namespace_tag(namespace)
        found = (*found, next_tag(last, _UNKNOWN))
    return found[1:]


def rewritten_from(committed: int, protected: int, *, bigram: bool) -> int:
    """The first position that the next forward pass writes: with bigram keys, again the last one.

    Never one of the ``protected`` prefix, whose slots are the tree's and complete.
    """
    return max(committed - 1, protected) if bigram else committed


def advance_state(held: int, namespace: str, tokens: Iterable[int]) -> int:
    """The state after ``tokens``, computed from the one that its slot holds (MAMBA).

    A recurrent state summarises a whole prefix, so its tag is the tag of that prefix's last token.
    A slot of zeros begins a sequence; any other content is taken for the state of what came before.
    """
    previous = namespace_tag(namespace) if held == NEVER_WRITTEN else held
    for token in tokens:
        previous = _mix(previous, token + 1)
    return previous


def _mix(state: int, value: int) -> int:
    state = (state ^ (value * 0x9E37_79B9_7F4A_7C15)) & 0xFFFF_FFFF_FFFF_FFFF
    state = ((state ^ (state >> 29)) * 0xBF58_476D_1CE4_E5B9) & 0xFFFF_FFFF_FFFF_FFFF
    return ((state ^ (state >> 32)) & _MASK) or 1
