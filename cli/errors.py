"""Wrong use and a wrong environment: one line, exit status 2."""

from __future__ import annotations

HELD = 0
COUNTEREXAMPLE = 1
WRONG_USE = 2


class UsageError(Exception):
    """What the user can put right; the message is one line that says how."""
