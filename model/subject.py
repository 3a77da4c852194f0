"""A subject: anything that can be brought through a trace and looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot


class Subject(Protocol):
    """A cache under test. The specification, our cache and any other are driven alike."""

    @property
    def name(self) -> str: ...

    def apply(self, operation: Operation) -> Outcome:
        """Perform one operation. Illegal use is an ``Outcome`` with an error, never a raise."""
        ...

    def snapshot(self) -> Snapshot:
        """The whole observable state; looking changes nothing."""
        ...

    def close(self) -> None:
        """Give back what the subject holds outside itself."""
        ...


OpenSubject = Callable[[CacheConfig], Subject]
"""Makes an empty subject of a configuration; raises ``ConfigError`` if it cannot be one."""
