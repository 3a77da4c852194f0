"""A release's KV events, told as those of the specification (model/blocks.py).

A block is named by the tokens it stands for: those of its event, after those of its parent. So what
is compared is which prefixes are told to be where. The numbers that a release hashes are its own,
but one prefix has one number and one number one prefix, whatever was split or loaded in between; an
event that breaks this, or names a block never told of, keeps its number and so stands for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from radixproof.model.blocks import CLEARED, CPU, GPU, REMOVED, STORED, Event, blocks
from radixproof.model.units import units

Units = tuple[int, ...]


class EventLog:
    """Takes a cache's events after every operation. ``page_size``: units in a block."""

    def __init__(self, tree: Any, page_size: int, *, enabled: bool) -> None:
        self.tree = tree
        self.page_size = page_size
        self.enabled = enabled
        self._prefix: dict[int, Units] = {}
        self._number: dict[Units, int] = {}
        self.last: tuple[Event, ...] = ()
        """Those of the operation that ran last; of the construction, in a new cache."""
        self.take()

    def take(self) -> None:
        found = self.tree.take_events() if self.enabled else ()
        in_a_row = groupby(found, lambda raw: (type(raw).__name__, getattr(raw, "medium", None)))
        self.last = tuple(e for (kind, _), run in in_a_row for e in self._told(kind, run))

    def _told(self, kind: str, run: Iterable[Any]) -> Iterator[Event]:
        """Events of one kind and medium that follow each other."""
        if kind == "BlockRemoved":
            yield from self._removed(list(run))
            return
        for raw in run:
            if kind == "BlockStored":
                yield from self._stored(raw, _medium(raw.medium))
            else:
                yield Event(CLEARED)

    def _stored(self, raw: Any, medium: str) -> Iterator[Event]:
        """A chain of blocks, each the parent of the next."""
        parent, size = raw.parent_block_hash, self.page_size
        told = tuple(map(_unit, raw.token_ids))
        for at, number in enumerate(raw.block_hashes):
            page = told[at * size : (at + 1) * size]
            above = () if parent is None else self._prefix.get(parent)
            if above is not None and len(page) == size:
                self._learn(number, (*above, *page))
            yield Event(STORED, medium, self._block(number), self._parent(parent), page)
            parent = number

    def _learn(self, number: int, prefix: Units) -> None:
        """Unless the number or the prefix has another partner already."""
        known = self._prefix.get(number) in (None, prefix)
        if known and self._number.get(prefix) in (None, number):
            self._prefix[number], self._number[prefix] = prefix, number
        else:
            self._prefix.pop(number, None)

    def _removed(self, run: list[Any]) -> Iterator[Event]:
        """Removals in a row, children first: which goes first is not told.

        Until 0.5.17 a node's pages are removed one by one from the top; later they are one event.
        """
        numbers = [n for raw in run for n in raw.block_hashes]
        for number in sorted(numbers, key=lambda n: -len(self._prefix.get(n, ()))):
            yield Event(REMOVED, _medium(run[0].medium), self._block(number))

    def _parent(self, number: int | None) -> int | None:
        return None if number is None else self._block(number)

    def _block(self, number: int) -> int:
        """The specification's hash of what a number stands for."""
        prefix = self._prefix.get(number)
        return number if prefix is None else blocks("", prefix, self.page_size)[-1]


def _unit(token: Any) -> int:
    """A token, or a pair of them."""
    return token if isinstance(token, int) else units(tuple(token), True)[0]


def _medium(medium: Any) -> str:
    """GPU where a release says nothing; host memory is ``CPU_PINNED``."""
    name = str(getattr(medium, "value", medium) or "GPU")
    return {"GPU": GPU, "CPU_PINNED": CPU}.get(name, name)
