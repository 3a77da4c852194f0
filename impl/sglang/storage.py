"""The storage tier of a release: what its scheduler does with it, and its workers.

Controller, queues, thread functions and tree are the release's. Stand-ins are the store
(storage_backend.py), and when threads run and time passes (storage_threads.py). Ours is the order
of the calls: ``Scheduler._prefetch_kvcache`` for a request that waits, ``check_prefetch_progress``
before its admission, ``release_aborted_request`` where it is given up.
A server here retries no missed prefetch (``hicache_storage_prefetch_retry_poll_interval`` 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radixproof.impl.sglang.fields import prefix_len
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.release import accepted
from radixproof.impl.sglang.running import Running
from radixproof.impl.sglang.storage_threads import CLOCK, Queue, Worker
from radixproof.model.errors import ErrorKind, IllegalUse
from radixproof.model.storage import QUERY, READ, REPORT, WRITE_PAGES
from radixproof.model.units import units

THREADS = {
    QUERY: "prefetch_thread",
    READ: "prefetch_io_aux_thread",
    WRITE_PAGES: "backup_thread",
    REPORT: "prefetch_sync_thread",
}
"""Worker -> attribute of the controller."""
_IN_FLIGHT = (
    "prefetch_queue",
    "prefetch_hit_queue",
    "prefetch_buffer",
    "prefetch_sync_queue",
    "ack_prefetch_queue",
)
"""Queues that hold prefetches, or news of them."""
_POLLED = (
    "prefetch_hit_queue",
    "prefetch_revoke_queue",
    "ack_prefetch_queue",
    "ack_backup_queue",
    "host_mem_release_queue",
)
_WRITTEN = ("backup_queue", "ack_backup_queue")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prefetch was begun for: a request's prefix in units, and where the span begins."""

    request: str
    namespace: str
    tokens: tuple[int, ...]
    start: int


class StorageTier:
    """One cache's; only where its configuration has one."""

    def __init__(self, built: Built) -> None:
        self.release = built.release
        self.tree = built.tree
        self.config = built.config
        self.asked: dict[Any, Asked] = {}
        CLOCK.seconds = 0

    @property
    def controller(self) -> Any:
        return self.tree.cache_controller

    @property
    def store(self) -> Any:
        return self.controller.storage_backend

    # Requests

    def begin(self, running: Running) -> int:
        """``_prefetch_kvcache``; how many tokens are asked for (0: no prefetch)."""
        req, tree = running.req, self.tree
        req.init_next_round_input(tree, cow_mamba=False)
        anchor = req.last_host_node
        if not (self._is_backed_up(anchor) or self._is_root(anchor)):
            return 0
        matched = prefix_len(self.release, req) + req.host_hit_length
        fill = req.full_untruncated_fill_ids
        end = len(fill)
        if hasattr(req, "_compute_max_prefix_len"):
            end = req._compute_max_prefix_len(end)
        prefix = tuple(fill[:matched])
        namespace = {"extra_key": req.extra_key, "matched_prefix_tokens": list(prefix)}
        who = handle(req)
        tree.prefetch_from_storage(
            who,
            anchor,
            fill[matched:end],
            self._last_hash(anchor),
            self._prefix_keys(anchor),
            **accepted(tree.prefetch_from_storage, **namespace),
        )
        entry = tree.ongoing_prefetch.get(who)
        if entry is None:
            return 0
        length = len(entry[1])
        whole = units(tuple(fill), self.config.bigram)[: matched + length]
        self.asked[who] = Asked(running.name, running.namespace, whole, matched)
        return length

    def _is_root(self, node: Any) -> bool:
        return bool(self.tree.is_root(node)) if isinstance(node, int) else node.parent is None

    def _is_backed_up(self, node: Any) -> bool:
        return bool(self.tree.is_backuped(node)) if isinstance(node, int) else bool(node.backuped)

    def _last_hash(self, node: Any) -> Any:
        if isinstance(node, int):
            return self.tree.get_last_hash_value(node)
        return node.get_last_hash_value()

    def _prefix_keys(self, node: Any) -> Any:
        if not self.tree.hicache_storage_pass_prefix_keys:
            return None
        if isinstance(node, int):
            return self.tree.get_prefix_hash_values(node)
        return node.get_prefix_hash_values(node.parent)

    def ready(self, req: Any) -> int | None:
        """Before an admission: tokens that its prefetch brought; ``None``: it is waited for."""
        if not self.tree.check_prefetch_progress(handle(req)):
            return None
        if hasattr(self.tree, "pop_prefetch_loaded_span"):
            return int(self.tree.pop_prefetch_loaded_span(handle(req))[0])
        return int(self.tree.pop_prefetch_loaded_tokens(handle(req)))

    def give_up(self, req: Any) -> None:
        self.tree.release_aborted_request(handle(req))

    # Environment

    def poll(self) -> dict[str, int]:
        """What ``check_hicache_events`` does for storage; how much ended by it."""
        before = len(self.tree.ongoing_prefetch), len(self.tree.ongoing_backup)
        self.tree.drain_storage_control_queues()
        after = len(self.tree.ongoing_prefetch), len(self.tree.ongoing_backup)
        return {"prefetches": before[0] - after[0], "backups": before[1] - after[1]}

    def workers(self) -> dict[str, Worker]:
        """The threads that there are, by what they do."""
        found = {name: getattr(self.controller, at, None) for name, at in THREADS.items()}
        return {name: worker for name, worker in found.items() if worker is not None}

    def work(self, name: str, pages: int | None, *, raises: bool) -> None:
        worker = self.workers().get(name)
        if worker is None or not worker.can_go_on:
            raise IllegalUse(ErrorKind.PROTOCOL, f"worker {name} has nothing to do")
        worker.go_on(pages, raises=raises)

    def elapse(self, seconds: int) -> None:
        CLOCK.seconds += seconds

    @property
    def clock(self) -> int:
        """Seconds since the cache was made."""
        return CLOCK.seconds

    def lose(self, count: int) -> None:
        self.store.lose(count)

    # What is in flight

    def prefetching(self) -> dict[int, Any]:
        """Prefetch operations that a queue or a worker still has, by their id."""
        return self._held(_IN_FLIGHT, (QUERY, READ, REPORT))

    def writing(self) -> dict[int, Any]:
        """Backups that a queue or a worker still has, by their id."""
        return self._held(_WRITTEN, (WRITE_PAGES,))

    def news(self) -> int:
        """Messages that a poll would take."""
        extra = self.controller.extra_host_mem_release_queues.values()
        own = (getattr(self.controller, name, None) for name in _POLLED)
        return sum(q.qsize() for q in (*own, *extra) if q is not None)

    def _held(self, queues: tuple[str, ...], workers: tuple[str, ...]) -> dict[int, Any]:
        items = [w.hand for name, w in self.workers().items() if name in workers]
        for name in queues:
            held = getattr(self.controller, name, None)
            items += list(held.queue) if isinstance(held, Queue) else []
        operations = [getattr(item, "operation", item) for item in items]
        return {o.id: o for o in operations if hasattr(o, "host_indices")}

    def close(self) -> None:
        """End all threads."""
        for worker in Worker.made:
            worker.close()
        Worker.made.clear()


def handle(req: Any) -> Any:
    """By what a release knows a request that waits: its name, from 0.5.20 on with a count of its
    attempts.
    """
    return getattr(req, "cache_request_handle", req.rid)
