"""Stand-in for the hash that newer releases compile with a C++ compiler when they first need it.

Contract kept: SHA-256 over the digest before it and each token as four little-endian bytes, of a
pair both tokens; one digest for the whole key, or one per page, each going into the next. Releases
until 0.5.14 do the same in Python. Tokens of more than 32 bits are not used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256


def page_hash(
    key: Iterable[int | tuple[int, ...]],
    prior_digest: bytes | None,
    page_size: int | None = None,
) -> str | list[str]:
    """Hexadecimal digests. ``key``: units, that is tokens or pairs of them."""
    units = [_bytes(unit) for unit in key]
    if page_size is None:
        return _digest(units, prior_digest).hex()
    digests: list[str] = []
    digest = prior_digest
    for begin in range(0, len(units), page_size):
        digest = _digest(units[begin : begin + page_size], digest)
        digests.append(digest.hex())
    return digests


def _bytes(unit: int | tuple[int, ...]) -> bytes:
    tokens = (unit,) if isinstance(unit, int) else unit
    return b"".join(token.to_bytes(4, "little") for token in tokens)


def _digest(units: Sequence[bytes], prior: bytes | None) -> bytes:
    return sha256((prior or b"") + b"".join(units)).digest()
