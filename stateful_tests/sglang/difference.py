"""One way in which a release is judged otherwise than the catalogue says (dialect.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """``option``: of model/options.py, or "" for every release."""

    option: str
    slugs: tuple[str, ...]
    rule: str
    """What the release does, or does not show."""
    source: str
    """Since when, and where in the specification."""
    instead: str
    """What still catches the harm."""
    policy: str | None = None
    """The write policy under which it applies; ``None``: any."""
    in_part: bool = False
    """The invariants are judged as far as they can be, which the report says."""
    decode_server: bool = False
    """It applies to decode servers alone."""
