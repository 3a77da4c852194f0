"""An intrusive doubly linked list: recency order with constant-time moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radixproof.impl.torch_cache.node import Node


class Link:
    """A node's place in one list; unlinked while ``next`` is ``None``."""

    __slots__ = ("next", "node", "prev")

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self.prev: Link | None = None
        self.next: Link | None = None

    @property
    def linked(self) -> bool:
        return self.next is not None


class LruList:
    """Most recent first, around a sentinel."""

    def __init__(self) -> None:
        self._end = Link(None)
        self._end.prev = self._end.next = self._end

    def push_front(self, link: Link) -> None:
        """The link becomes the most recent; it may stand anywhere or nowhere before."""
        self.remove(link)
        first = self._end.next
        assert first is not None
        link.prev, link.next = self._end, first
        self._end.next = first.prev = link

    def push_behind(self, place: Link, link: Link) -> None:
        """The link becomes the next less recent one after ``place``, if that stands here."""
        if place.next is not None:
            link.prev, link.next = place, place.next
            place.next.prev = place.next = link

    def remove(self, link: Link) -> None:
        """Take a link out; nothing happens if it is out."""
        if link.prev is not None and link.next is not None:
            link.prev.next, link.next.prev = link.next, link.prev
            link.prev = link.next = None

    def __iter__(self) -> Iterator[Node]:
        """Most recent first."""
        link = self._end.next
        while link is not None and link.node is not None:
            yield link.node
            link = link.next

    def least_recent(self) -> Iterator[Node]:
        """Least recent first; the node just yielded may be removed."""
        link = self._end.prev
        while link is not None and link.node is not None:
            before = link.prev
            yield link.node
            link = before
