"""The kinds of error a cache answers illegal use with (domain.md 0.4)."""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """Stable names of the error kinds, as domain.md 0.4 spells them."""

    ARGUMENT = "E_ARG"
    """An argument breaks a precondition that can be checked locally; the state is unchanged."""
    PROTOCOL = "E_PROTO"
    """A pairing protocol is broken: release without acquire, unknown id; state unchanged."""
    BUSY = "E_BUSY"
    """A destructive operation while requests or transfers are in flight; state unchanged."""
    INTERNAL = "E_INTERNAL"
    """An invariant was found violated; fail-stop, the state is undefined."""


class ConfigError(ValueError):
    """A configuration no cache can have. The message is one line for the user."""


NO_RANKS = "several ranks go with --subject sglang... only"


class TraceError(ValueError):
    """A trace that is not one: malformed, truncated, unknown. The message is one line."""


class IllegalUse(Exception):
    """An operation that the specification forbids in this state; the state is unchanged."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason


def require(condition: bool, reason: str) -> None:
    """Raises ``IllegalUse``: an argument breaks a precondition."""
    if not condition:
        raise IllegalUse(ErrorKind.ARGUMENT, reason)


def require_pairing(condition: bool, reason: str) -> None:
    """Raises ``IllegalUse``: a pairing protocol is broken."""
    if not condition:
        raise IllegalUse(ErrorKind.PROTOCOL, reason)
