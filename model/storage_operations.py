"""What happens between host and storage (domain.md 6.12): operations of a cache that has it.

The first three are the scheduler's, the others the environment's: workers, store and time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BeginPrefetch:
    """What a waiting request would find in the store begins to be brought to the host.

    Match all its tokens but the last. Unless the end of the match is neither backed up nor the
    root, what lies beyond it is asked for, if it is long enough and not too much is under way.

    E_PROTO: no such request waits. Outcome: ``prefetching`` (tokens asked for; 0: none).
    """

    request: str


@dataclass(frozen=True, slots=True)
class CheckPrefetch:
    """Before an admission: a prefetch that is waited for no longer lands on the host, as far as it
    came; refused while it is waited for.

    E_PROTO: no such request waits. Outcome: ``from_storage`` (tokens that it brought).
    """

    request: str


@dataclass(frozen=True, slots=True)
class PollStorage:
    """The scheduler takes what the workers have finished: hits, pages, backups, released slots.

    Outcome: ``prefetches`` and ``backups`` that ended by it.
    """


@dataclass(frozen=True, slots=True)
class StorageWork:
    """One worker goes on until it has nothing to do, or is about to ask the store something.

    ``query`` looks up how much of a key is stored, ``read`` reads pages, ``write`` writes them,
    ``report`` passes on what was read. If the worker stands before a call to the store, ``pages``
    bounds how many pages of this call succeed (``None``: all that can), and with ``raises`` the
    call raises instead.

    E_ARG: unknown worker, ``pages`` negative. E_PROTO: that worker has nothing to do.
    """

    worker: str
    pages: int | None = None
    raises: bool = False


@dataclass(frozen=True, slots=True)
class Elapse:
    """Time passes, by which prefetches become late. E_ARG: ``seconds`` not positive."""

    seconds: int


@dataclass(frozen=True, slots=True)
class LosePages:
    """The store drops its ``count`` oldest pages, with all their components, as it may at any
    time. E_ARG: ``count`` not positive.
    """

    count: int


StorageOperation = BeginPrefetch | CheckPrefetch | PollStorage | StorageWork | Elapse | LosePages

STORAGE_OPERATIONS: dict[str, type[StorageOperation]] = {
    "begin_prefetch": BeginPrefetch,
    "check_prefetch": CheckPrefetch,
    "poll_storage": PollStorage,
    "storage_work": StorageWork,
    "elapse": Elapse,
    "lose_pages": LosePages,
}
"""Name in a trace -> operation."""
