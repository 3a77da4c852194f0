"""The listing that a Rust core prints of its tree: one line a node, children indented below it.

It goes to the process's standard output, past Python, and is caught there.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from radixproof.impl.sglang.release import NotSglang

_LINE = re.compile(r"^( +)\[(\d+)\] (\d+) full_lock=(-?\d+) ")
"""Indentation, id, tokens of the edge, FULL lock count."""


class Listed(NamedTuple):
    """One node; the root has depth 0."""

    depth: int
    id: int
    length: int
    lock: int


def listed(core: Any) -> list[Listed]:
    """The root and all nodes, each after its parent. Raises ``NotSglang``: another format."""
    lines = printed(lambda: type(core).pretty_print(core))  # pools.py silenced the object's own
    if not lines:
        raise NotSglang("the Rust core prints no listing of its tree")
    return [_line(line) for line in lines.splitlines()]


def printed(write: Callable[[], None]) -> str:
    """What compiled code writes to the process's standard output."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            write()
        finally:
            os.dup2(before, 1)
            os.close(before)
        file.seek(0)
        return file.read().decode()


def _line(line: str) -> Listed:
    """One space before the root, two more a level."""
    found = _LINE.match(line)
    if found is None or len(found[1]) % 2 == 0:
        raise NotSglang(f"the listing of the Rust core has the line {line!r}")
    return Listed(len(found[1]) // 2, int(found[2]), int(found[3]), int(found[4]))
