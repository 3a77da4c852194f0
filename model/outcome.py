"""What an operation answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from radixproof.model.errors import ErrorKind


class Status(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    """Not an error: resources are short (domain.md 0.4); what stands is said per operation."""
    ERROR = "error"
    """Illegal use was refused and the state is unchanged, or (E_INTERNAL) the subject broke."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``values`` are compared between subjects; ``slots`` and ``reason`` are private to one."""

    status: Status
    values: Mapping[str, int] = field(default_factory=dict)
    error: ErrorKind | None = None
    slots: tuple[int, ...] = field(default=(), compare=False)
    """FULL device slots the operation handed out, one per token from position 0 (Match, Admit)."""
    reason: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """``ok``, ``refused`` or the name of the error."""
        return str(self.error) if self.error else str(self.status)


def ok(slots: tuple[int, ...] = (), /, **values: int) -> Outcome:
    return Outcome(Status.OK, values, slots=slots)


def refused(reason: str, **values: int) -> Outcome:
    return Outcome(Status.REFUSED, values, reason=reason)


def error(kind: ErrorKind, reason: str) -> Outcome:
    return Outcome(Status.ERROR, error=kind, reason=reason)
