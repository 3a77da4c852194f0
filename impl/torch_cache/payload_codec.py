"""Payload tags as KV bytes: every element of every layer of a slot depends on the tag.

A slot is ``LAYERS * 2 * HEADS * DIM`` float32 numbers, layer by layer, K before V. Integers below
2**24 are exact in float32, so a 48-bit tag is carried as two halves, salted by layer and by K or V;
the other two elements mix both halves. Both directions are pure functions, hence memoised.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from radixproof.model.payload import NEVER_WRITTEN, TORN

LAYERS = 2
HEADS = 1
DIM = 4
NUMBERS = LAYERS * 2 * HEADS * DIM

_HALF = (1 << 24) - 1
_FORMAT = struct.Struct(f"<{NUMBERS}f")
_BLANK = bytes(_FORMAT.size)
_SALTS = tuple((0x2545F5 * (part + 1)) & _HALF for part in range(LAYERS * 2))


@lru_cache(maxsize=1 << 16)
def encode(tag: int) -> bytes:
    """The bytes of a slot that holds ``tag``; zeros for one that holds nothing."""
    if tag == NEVER_WRITTEN:
        return _BLANK
    low, high = tag & _HALF, tag >> 24
    numbers: list[int] = []
    for salt in _SALTS:
        numbers += (low ^ salt, high ^ salt, (low + 3 * high) & _HALF ^ salt, low ^ high ^ salt)
    return _FORMAT.pack(*numbers)


@lru_cache(maxsize=1 << 16)
def decode(raw: bytes) -> int:
    """The tag of a slot's bytes; ``TORN`` unless every byte belongs to one tag."""
    if raw == _BLANK:
        return NEVER_WRITTEN
    low, high = _FORMAT.unpack(raw)[:2]
    if not (low.is_integer() and high.is_integer() and 0 <= low <= _HALF and 0 <= high <= _HALF):
        return TORN
    tag = (int(low) ^ _SALTS[0]) | (int(high) ^ _SALTS[0]) << 24
    return tag if encode(tag) == raw else TORN
