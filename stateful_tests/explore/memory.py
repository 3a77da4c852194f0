"""How much memory an exploration takes, all its processes together."""

from __future__ import annotations

import os
import resource
import sys
from multiprocessing import active_children
from pathlib import Path

MEGABYTE = 1 << 20


def resident() -> int:
    """Bytes in memory of this process and its children; what they share counts more than once.

    Where there is no ``/proc``: the most that this process and its ended children ever had.
    """
    here = [_of(pid) for pid in (os.getpid(), *(c.pid for c in active_children()))]
    found = [size for size in here if size is not None]
    if found:
        return sum(found)
    unit = 1 if sys.platform == "darwin" else 1024
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return unit * sum(resource.getrusage(who).ru_maxrss for who in whose)


def _of(pid: int | None) -> int | None:
    """``None``: it has ended, or nothing is told."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
