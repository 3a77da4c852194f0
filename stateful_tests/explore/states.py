"""Every state found so far: 22 bytes each, in memory and, where wanted, on disk.

A state is its digest and the edge that found it, which is enough to know it again and to come back
to it. Nothing else of a state is kept, so the frontier costs no more than what lies behind it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from radixproof.stateful_tests.explore.canonical import DIGEST_SIZE

NOWHERE = (1 << 32) - 1
"""The parent of the empty cache."""
RECENT = 1 << 16
"""Digests that are held in a set before they are merged into the sorted array."""

_DIGEST = f"S{DIGEST_SIZE}"


class States:
    """States by number, in breadth-first order. Numbers and places fit 32 and 16 bits."""

    def __init__(self) -> None:
        self.parents = array("I")
        self.places = array("H")
        self.unsaved = bytearray()
        """Digests of the states that ``Store`` has not written yet."""
        self._sorted = np.empty(0, dtype=_DIGEST)
        self._recent: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def headroom(self) -> int:
        """Bytes that merging takes for a moment: the digests put together, and sorted."""
        return 2 * DIGEST_SIZE * len(self)

    def add(self, digest: bytes, parent: int, place: int) -> None:
        """A state that was not known."""
        self.parents.append(parent)
        self.places.append(place)
        self.unsaved += digest
        self._recent.add(digest)
        if len(self._recent) > max(RECENT, len(self._sorted) // 4):
            self._merge()

    def unknown(self, digests: Sequence[bytes]) -> list[bytes]:
        """Those that are no state yet, in their order; each given once."""
        if not digests:
            return []
        merged = [False] * len(digests)
        if len(self._sorted):
            wanted = np.frombuffer(b"".join(digests), dtype=_DIGEST)
            found = np.searchsorted(self._sorted, wanted)
            found[found == len(self._sorted)] = 0
            merged = (self._sorted[found] == wanted).tolist()
        return [
            digest
            for digest, known in zip(digests, merged, strict=True)
            if not known and digest not in self._recent
        ]

    def path(self, number: int) -> tuple[int, ...]:
        """The places of the operations that lead to a state; one of its shortest paths."""
        way: list[int] = []
        while self.parents[number] != NOWHERE:
            way.append(self.places[number])
            number = self.parents[number]
        return tuple(reversed(way))

    def restore(self, digests: bytes, parents: array[int], places: array[int]) -> None:
        """Take over what a store has kept; only for a new object."""
        self.parents, self.places = parents, places
        self._sorted = np.sort(np.frombuffer(digests, dtype=_DIGEST))

    def _merge(self) -> None:
        recent = np.frombuffer(b"".join(self._recent), dtype=_DIGEST)
        self._sorted = np.sort(np.concatenate([self._sorted, recent]), kind="stable")
        self._recent = set()
