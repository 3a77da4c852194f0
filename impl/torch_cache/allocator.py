"""Paged free lists (domain.md 4.3): whole pages are handed out and taken back."""

from __future__ import annotations

import torch
from torch import Tensor

from radixproof.impl.torch_cache.errors import InternalError


class PagedAllocator:
    """The free pages of one pool. Allocation is all or nothing.

    ``appends`` pools give freed pages out last (page 1 and host pools), the others first.
    """

    def __init__(self, name: str, slots: int, page_size: int, first_slot: int) -> None:
        self.name = name
        self.slots = slots
        self.page_size = page_size
        self.first_slot = first_slot
        self.appends = page_size == 1 or first_slot == 0
        self.armed = 0
        self.offsets = torch.arange(page_size, dtype=torch.int64)
        self.pages: list[int] = []
        self.clear()

    def clear(self) -> None:
        """All pages free, ascending; armed failures are forgotten."""
        first = self.first_slot // self.page_size
        self.pages = list(range(first, first + self.slots // self.page_size))
        self.armed = 0

    @property
    def available(self) -> int:
        """Free slots."""
        return len(self.pages) * self.page_size

    def allocate(self, count: int) -> Tensor | None:
        """``count`` slots (int64, whole pages) or ``None``; an armed failure is used up."""
        if self.armed:
            self.armed -= 1
            return None
        pages = count // self.page_size
        if len(self.pages) < pages:
            return None
        taken = torch.tensor(self.pages[:pages], dtype=torch.int64)
        del self.pages[:pages]
        if self.page_size == 1:
            return taken
        return (taken[:, None] * self.page_size + self.offsets).reshape(-1)

    def untake(self, slots: Tensor) -> None:
        """Undo the ``allocate`` that came last: its pages are next again."""
        self.pages[:0] = self._pages_of(slots)

    def free(self, slots: Tensor) -> None:
        """Give slots back, each distinct page once."""
        pages = self._pages_of(slots)
        if not set(pages).isdisjoint(self.pages):
            raise InternalError(f"double free in {self.name}: pages {pages}")
        if self.appends:
            self.pages += pages
        else:
            self.pages[:0] = sorted(pages)

    def _pages_of(self, slots: Tensor) -> list[int]:
        return list(dict.fromkeys((slots // self.page_size).tolist()))
