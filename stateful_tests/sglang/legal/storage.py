"""What may happen between a release and its storage tier.

The scheduler's part: the prefetch of a request begins while it waits (``_prefetch_kvcache``, from
``_add_request_to_queue`` or a retry), at most one at a time; an admission asks first whether it is
still waited for. A request that never began one is like one whose prefetch was declined, or found
nothing. The rest is the environment's: a worker goes on when it has something to do, a store
serves less than it has, forgets and fails, time passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from radixproof.model import operations as op
from radixproof.model.snapshot import Snapshot
from radixproof.model.storage_operations import (
    STORAGE_OPERATIONS,
    BeginPrefetch,
    PollStorage,
    StorageOperation,
    StorageWork,
)

CALLS = ("exists", "get", "set")
"""What a worker that stands before a call to the store does next."""


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why this could not happen here; ``None``: it could."""
    if type(operation) in STORAGE_OPERATIONS.values():
        if state.storage is None:
            return "there is no storage tier"
        if isinstance(operation, StorageWork):
            return _why_no_work(state.storage.work, operation)
        if isinstance(operation, BeginPrefetch) and operation.request in prefetching(state):
            return "its prefetch is under way"
        return None
    if state.storage is None:
        return None
    if isinstance(operation, op.Proceed) and operation.request in prefetching(state):
        return "an admission first asks whether the prefetch is waited for"
    if isinstance(operation, op.Reset) and (state.storage.prefetches or state.storage.backups):
        return "a server is not idle while it prefetches or writes to the store"
    return None


def prefetching(state: Snapshot) -> set[str]:
    """Requests whose prefetch is under way."""
    return set() if state.storage is None else {p.request for p in state.storage.prefetches}


def _why_no_work(work: Mapping[str, str], operation: StorageWork) -> str | None:
    at = work.get(operation.worker)
    if at is None:
        return f"worker {operation.worker} has nothing to do"
    if at not in CALLS and (operation.pages is not None or operation.raises):
        return "the store can only fail in a call"
    return None


def is_busy(state: Snapshot) -> bool:
    """Whether a worker has something to do, or something waits to be polled."""
    s = state.storage
    return s is not None and bool(s.work or s.prefetches or s.backups or s.releasing)


def endings(state: Snapshot) -> Iterator[StorageOperation]:
    """One round of what brings all work to its end."""
    if state.storage is not None:
        yield from (StorageWork(worker) for worker in sorted(state.storage.work))
        yield PollStorage()
