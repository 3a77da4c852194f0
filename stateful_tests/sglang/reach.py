"""How a release is used and judged beyond its defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """Each is off unless asked for."""

    host_locks: bool = False
    """Clients hold host locks, as a storage tier does while it copies."""
    quotas: bool = False
    """Load-backs are given a ``mem_quota``, which no scheduler passes."""
    early_release: bool = False
    """Requests give back the SWA part of their lock once they decoded past the window."""
    promised: tuple[str, ...] = ()
    """Options (model/options.py) that the release is judged by though it does not follow them: what
    the repair of a recorded bug brought."""


DEFAULT = Reach()
