"""The request-to-token table: one row of FULL slots per running request."""

from __future__ import annotations

import torch
from torch import Tensor


class ReqToToken:
    """``[rows, capacity]`` int64; rows are handed out by number and the table grows as needed."""

    def __init__(self) -> None:
        self.table = torch.zeros((4, 32), dtype=torch.int64)
        self.free_rows = list(range(4))

    def take(self) -> int:
        """A free row."""
        if not self.free_rows:
            rows = self.table.shape[0]
            self.table = torch.cat([self.table, torch.zeros_like(self.table)])
            self.free_rows = list(range(rows, 2 * rows))
        return self.free_rows.pop(0)

    def give_back(self, row: int) -> None:
        self.table[row] = 0
        self.free_rows.append(row)

    def write(self, row: int, start: int, slots: Tensor) -> None:
        """Positions ``start`` onwards of a row."""
        end = start + len(slots)
        while end > self.table.shape[1]:
            self.table = torch.cat([self.table, torch.zeros_like(self.table)], dim=1)
        self.table[row, start:end] = slots

    def read(self, row: int, start: int, end: int) -> Tensor:
        """A copy of positions ``start`` to ``end``."""
        return self.table[row, start:end].clone()
