"""KV events: what a router is told about blocks, and how a block is called (domain.md 6.12, 6.14).

A block is a page. Its digest is chained over the prefix: SHA-256 of the previous page's digest and
of each token as four little-endian bytes (of a pair, both tokens). The first page of a namespace
follows the digest of the namespace, so that adapters never share a block (U-17).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from radixproof.model.units import BITS

STORED, REMOVED, CLEARED = "stored", "removed", "cleared"
GPU, CPU = "gpu", "cpu"


@dataclass(frozen=True, slots=True)
class Event:
    """``block`` and ``parent`` are block hashes; ``parent`` is ``None`` at the root."""

    kind: str
    medium: str = ""
    block: int | None = None
    parent: int | None = None
    tokens: tuple[int, ...] = ()
    """The units of the page; of stored blocks only."""


def block_hash(digest: bytes) -> int:
    """The first eight bytes of a digest as a signed number."""
    return int.from_bytes(digest[:8], "big", signed=True)


def unit_bytes(unit: int) -> bytes:
    """Four bytes a token, little-endian; eight for a pair."""
    if unit >> BITS:
        pair = (unit >> BITS) - 1, unit & ((1 << BITS) - 1)
        return b"".join(t.to_bytes(4, "little") for t in pair)
    return unit.to_bytes(4, "little")


@lru_cache(maxsize=1 << 14)
def blocks(namespace: str, units: tuple[int, ...], page_size: int) -> tuple[int, ...]:
    """The block hashes of a prefix, one per page."""
    return tuple(_chain(namespace, units, page_size))


def _chain(namespace: str, units: tuple[int, ...], page_size: int) -> Iterator[int]:
    digest = sha256(namespace.encode()).digest() if namespace else b""
    for begin in range(0, len(units), page_size):
        page = b"".join(map(unit_bytes, units[begin : begin + page_size]))
        digest = sha256(digest + page).digest()
        yield block_hash(digest)
