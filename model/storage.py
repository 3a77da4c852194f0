"""The storage tier (L3, domain.md 4.6 and 6.12): what is configured, and what a state shows of it.

Only releases of SGLang have one; the specification and the torch cache refuse a configuration with
it. An external store holds pages under the hash of the prefix that ends with them. Workers beside
the scheduler look pages up, read and write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from radixproof.model.errors import ConfigError

BEST_EFFORT = "best_effort"
WAIT_COMPLETE = "wait_complete"
TIMEOUT = "timeout"
PREFETCH_POLICIES = (BEST_EFFORT, WAIT_COMPLETE, TIMEOUT)
"""When an admission waits no longer for a prefetch: never; once it is complete; or late."""

QUERY, READ, WRITE_PAGES, REPORT = "query", "read", "write", "report"
WORKERS = (QUERY, READ, WRITE_PAGES, REPORT)
"""The threads: looks up how much is stored; reads it; writes backups; agrees with other ranks on
what was read (from 0.5.19 on)."""

PREFETCH, BACKUP = STORAGE_OWNERS = ("prefetch", "backup")
"""Owners of the host locks that the tier takes: on the anchor of a prefetch, on what is written."""
NO_STORAGE = "only releases of SGLang have a storage tier"
Slots = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """``prefetch_threshold``: the least number of tokens that is worth a prefetch.

    ``zero_copy``: the store writes into host slots itself, instead of handing pages over.
    ``prefix_keys``: it is also told the hashes of the pages in front. Raises ``ConfigError``.
    """

    prefetch_policy: str = BEST_EFFORT
    prefetch_threshold: int = 1
    zero_copy: bool = False
    prefix_keys: bool = False

    def __post_init__(self) -> None:
        if self.prefetch_policy not in PREFETCH_POLICIES:
            known = ", ".join(PREFETCH_POLICIES)
            raise ConfigError(
                f"storage: prefetch_policy must be one of {known}, not {self.prefetch_policy!r}"
            )
        threshold = self.prefetch_threshold
        if type(threshold) is not int or threshold < 1:
            raise ConfigError(
                f"storage: prefetch_threshold must be an integer >= 1, not {threshold!r}"
            )
        for flag in ("zero_copy", "prefix_keys"):
            if not isinstance(getattr(self, flag), bool):
                raise ConfigError(f"storage: {flag} must be true or false")

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: object) -> StorageConfig:
        """Inverse of ``to_json``; absent fields take their defaults. Raises ``ConfigError``."""
        if not isinstance(raw, Mapping):
            raise ConfigError(f"storage must be an object or null, not {type(raw).__name__}")
        unknown = sorted(set(map(str, raw)) - {f.name for f in fields(cls)})
        if unknown:
            raise ConfigError(f"unknown storage field {unknown[0]!r}")
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Prefetch:
    """A prefetch that its request still waits for.

    ``anchor``: the node below which it will land. ``tokens``: the request's whole prefix up to the
    end of the span, in units; ``start``: where the span begins. ``slots``: component -> host slots
    that were taken for it, of FULL from ``start`` on; ``completed`` units of it are there.
    """

    request: str
    namespace: str
    tokens: tuple[int, ...]
    start: int
    anchor: int
    slots: Mapping[str, Slots]
    completed: int
    terminated: bool

    @property
    def span(self) -> int:
        return len(self.tokens) - self.start


@dataclass(frozen=True, slots=True)
class Backup:
    """A node that is being written to the store: what the write reads of it."""

    id: int = field(compare=False)
    node: int
    slots: Mapping[str, Slots]
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StorageState:
    """What is in flight between host and store, and what the store holds.

    ``releasing``: component -> host slots that no node and no prefetch of a waiting request owns
    any more, and that are not free yet: on their way back, or still in the hands of a worker.
    ``work``: per worker that could go on, what it does next. ``pages``: component -> page hash ->
    the tags of its tokens (model/payload.py). ``hashes``: per node its page hashes, or ``None``.
    ``occupied``: tokens that count against the limit of prefetches.
    """

    prefetches: tuple[Prefetch, ...]
    backups: tuple[Backup, ...]
    releasing: Mapping[str, Slots]
    occupied: int
    work: Mapping[str, str]
    pages: Mapping[str, Mapping[str, tuple[int, ...]]]
    hashes: tuple[tuple[str, ...] | None, ...]
    clock: int
    capacity: int
    """A prefetch is refused while ``occupied`` is at least this."""
    news: int
    """Messages that the next poll takes: hits, pages read, writes done, slots on their way back."""
