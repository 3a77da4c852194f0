"""One cache of a release under the operations of the vocabulary (model/operations.py).

What makes each use legal: inserts, matches, locks, evictions and load-backs are the calls of the
release's own scheduler and of its unit tests of the unified cache, with their argument contracts;
requests follow lifecycle.py. Nothing is called that a server could not call in that order, except
``FailAllocation``, which is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from radixproof.impl.sglang import allocation, configuration, fields, payload
from radixproof.impl.sglang.budget import Budget, OutOfMemory
from radixproof.impl.sglang.decode_server import DecodeServer
from radixproof.impl.sglang.device import Event
from radixproof.impl.sglang.events import EventLog
from radixproof.impl.sglang.lifecycle import SAMPLED, Lifecycle
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.queue import Queue
from radixproof.impl.sglang.running import Admitted, Running
from radixproof.impl.sglang.sessions import Sessions
from radixproof.impl.sglang.storage import StorageTier
from radixproof.impl.sglang.tracking import Snapshotted
from radixproof.impl.sglang.transfers import Moves, TransferLog
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.errors import ErrorKind, IllegalUse
from radixproof.model.operations import LOAD, WRITE
from radixproof.model.payload import kv_tags, rewritten_from
from radixproof.model.units import units

EMPTY = torch.empty((0,), dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class Held:
    """A client's lock: what has to be given back, and on which node."""

    node: Any
    receipt: Any


@dataclass(frozen=True, slots=True)
class Found:
    """What a match returned; nodes are the release's handles."""

    slots: tuple[int, ...]
    last_device_node: Any
    best_match_node: Any
    host_hit: int
    swa_host_hit: int
    mamba_host_hit: int
    branching: int


class SglangCache:
    """Tree, pools, clients and running requests."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.config = built.config
        self.release = built.release
        self.tree = built.tree
        self.lifecycle = Lifecycle(built)
        self.transfers = TransferLog(built)
        self.kv_events = EventLog(built.tree, self.config.page_size, enabled=self.config.kv_events)
        self.requests: dict[str, Running] = {}
        self.budget = Budget(self.lifecycle, self.requests)
        self.decode_server = DecodeServer(self.lifecycle)
        self.sessions = Sessions(self.lifecycle, self.requests)
        self.queue = Queue(self.lifecycle, self.requests, self.budget, self.sessions)
        self.storage: StorageTier | None = None
        if self.config.storage is not None:
            self.storage = StorageTier(built)
        self.locks: dict[str, Held] = {}
        self.host_locks: dict[str, Held] = {}

    # Keys

    def match(self, namespace: str, tokens: tuple[int, ...]) -> Found:
        params = self.release.params.MatchPrefixParams(key=self.release.key(tokens, namespace))
        found = self.tree.match_prefix(params)
        if hasattr(found, "device_indices"):
            slots = found.device_indices
        else:
            path = self.tree.path_device_indices(found.last_device_node)
            slots = path[: found.device_prefix_len]
        return Found(
            tuple(slots.tolist()),
            found.last_device_node,
            found.best_match_node,
            found.host_hit_length,
            getattr(found, "swa_host_hit_length", 0),
            getattr(found, "mamba_host_hit_length", 0),
            getattr(found, "mamba_branching_seqlen", None) or 0,
        )

    def units(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What the tree makes of a key."""
        return units(tokens, self.config.bigram)

    def aligned(self, tokens: tuple[int, ...]) -> int:
        """Units of a key that fill whole pages."""
        page = self.config.page_size
        return len(self.units(tokens)) // page * page

    def insert(self, o: op.Insert) -> dict[str, int] | None:
        """A client's own insert: what a request does that ends without having held anything.

        The outcome's values; ``None`` without memory.
        """
        allocator = self.built.allocator
        length = self.aligned(o.tokens)
        if self.config.has_mamba and not self.built.device_allocator(MAMBA).available_size():
            return None
        slots = allocation.extend(self.built, EMPTY, len(o.tokens))
        if slots is None:
            return None
        state = self._state_slot()
        tags = kv_tags(o.namespace, o.tokens, len(o.tokens), bigram=self.config.bigram)
        payload.write(self.built, slots, tags)
        if state is not None:
            payload.store(self.built.layers[MAMBA], state, torch.tensor(tags[-1:]))
        if o.swa_evicted:
            allocator.free_swa(slots[: o.swa_evicted])
        result = self.tree.insert(self._insert_params(o, slots[:length], state))
        if len(slots) > length:
            allocator.free(slots[length:])
        told = {"prefix_len": int(result.prefix_len)}
        if state is not None:
            told["state_taken"] = int(not result.mamba_exist)
            if result.mamba_exist:
                self._free_state(state)
        self.submit_writes()
        return told

    def _state_slot(self) -> torch.Tensor | None:
        if not self.config.has_mamba:
            return None
        slot: torch.Tensor | None = self.built.device_allocator(MAMBA).alloc(1)
        return slot

    def _free_state(self, slot: torch.Tensor | None) -> None:
        if slot is not None:
            self.built.device_allocator(MAMBA).free(slot)

    def _insert_params(self, o: op.Insert, slots: torch.Tensor, state: torch.Tensor | None) -> Any:
        kind = self.release.params.InsertParams
        fields = kind.__dataclass_fields__
        extra: dict[str, Any] = {} if state is None else {"mamba_value": state.clone()}
        if "chunked" in fields:
            extra["chunked"] = o.chunked
        if "swa_evicted_seqlen" in fields:
            extra["swa_evicted_seqlen"] = o.swa_evicted
        elif o.swa_evicted:
            extra["component_evicted_seqlens"] = {self.release.ComponentType.SWA: o.swa_evicted}
        raw = len(slots) + self.config.bigram  # pairs share a token with their neighbours
        key = self.release.key(o.tokens[:raw], o.namespace)
        return kind(key=key, value=slots.clone(), priority=o.priority, **extra)

    # Locks

    def lock(self, holder: str, node: Any) -> int:
        if holder in self.locks:
            raise IllegalUse(ErrorKind.PROTOCOL, "the holder has a device lock")
        result = self.tree.inc_lock_ref(node)
        self.locks[holder] = Held(node, result.to_dec_params())
        return int(result.delta or 0)

    def unlock(self, holder: str) -> None:
        held = _held(self.locks, holder, "device")
        self.tree.dec_lock_ref(held.node, held.receipt)

    def host_lock(self, holder: str, node: Any) -> None:
        if holder in self.host_locks:
            raise IllegalUse(ErrorKind.PROTOCOL, "the holder has a host lock")
        result = self.tree.inc_host_lock_ref(node)
        self.host_locks[holder] = Held(node, result.to_dec_params())

    def host_unlock(self, holder: str) -> None:
        held = _held(self.host_locks, holder, "host")
        self.tree.dec_host_lock_ref(held.node, held.receipt)

    # Memory pressure

    def evict(self, full: int, swa: int, mamba: int) -> dict[str, int]:
        """What was freed of each component there is."""
        kind = self.release.params.EvictParams
        result = self.tree.evict(kind(num_tokens=full, swa_num_tokens=swa, mamba_num=mamba))
        freed = {
            "freed_full": int(result.num_tokens_evicted),
            "freed_swa": int(result.swa_num_tokens_evicted),
        }
        if self.config.has_mamba:
            freed["freed_mamba"] = int(result.mamba_num_evicted)
        return freed

    def evict_host(self, count: int, component: str) -> int:
        kind = getattr(self.release.ComponentType, component.upper())
        return int(self.tree.evict_host(count, kind) or 0)

    # Transfers

    def load_back(self, node: Any, quota: int | None) -> Moves | None:
        """What is queued for the node; ``None``: refused."""
        if not self.lifecycle.admission.has_free_load():
            return None
        if not self.tree.load_back(node, quota):
            return None
        self.transfers.note()
        return self.transfers.of(LOAD, node if isinstance(node, int) else node.id)

    def submit_writes(self) -> None:
        """What ``process_batch_result`` ends with where backups are queued (from 0.5.21 on)."""
        controller = self.built.controller
        if controller is not None and controller.write_queue:
            self.transfers.note()
            controller.start_writing()

    def start_loading(self) -> int:
        controller = self.built.controller
        if controller is None:
            return 0
        queued = len(controller.load_queue)
        if queued:
            self.transfers.note()
            self.tree.ready_to_load_host_cache()
        return queued

    def unfinished(self, stream: str) -> list[Event]:
        """Finish events of submissions whose copies have not run, oldest first."""
        return [e for e in self.events(stream) if not e.done]

    def events(self, stream: str) -> list[Event]:
        _, acks = self.built.queues(stream)
        return [ack.finish_event for ack in acks]

    def observe(self, stream: str, limit: int | None) -> int:
        """Poll one stream; beyond ``limit`` other ranks have not seen the events finish."""
        if self.built.controller is None:
            return 0
        self.submit_writes()
        ongoing = (
            self.tree.ongoing_write_through if stream == WRITE else self.tree.ongoing_load_back
        )
        before, events = len(ongoing), self.events(stream)
        with self._withheld(events[limit:] if limit is not None else []):
            self._poll(stream)
        return before - len(ongoing)

    def _poll(self, stream: str) -> None:
        """With several ranks as the scheduler does it, which looks at both streams at once."""
        if self.config.ranks > 1:
            with self._withheld(self.events(LOAD if stream == WRITE else WRITE)):
                self.tree.check_hicache_events()
        elif stream == WRITE:
            self.tree.writing_check()
        else:
            self.tree.loading_check()

    @contextmanager
    def _withheld(self, events: list[Event]) -> Iterator[None]:
        """Events that have not been reported yet, though what they wait for may have run."""
        for event in events:
            event.withheld = True
        try:
            yield
        finally:
            for event in events:
                event.withheld = False

    # Requests

    def admit(self, o: op.Admit) -> tuple[Running, Admitted] | None:
        running = self.lifecycle.new(o.request, o.namespace, o.tokens, o.priority)
        return self._admitted(running, load_back=o.load_back, mem_quota=o.mem_quota)

    def turn(self, new: Running, load_back: bool) -> tuple[Running, Admitted] | None:
        """Admit the next turn of a session."""
        return self._admitted(new, load_back=load_back, mem_quota=None)

    def _admitted(
        self, running: Running, *, load_back: bool, mem_quota: int | None
    ) -> tuple[Running, Admitted] | None:
        if self.decode_server.in_force:
            admitted = self.decode_server.preallocate(running)
        else:
            admitted = self.queue.admit(running, load_back=load_back, mem_quota=mem_quota)
        if admitted is None:
            return None
        self.requests[running.name] = running
        self.sessions.admitted(running)
        return running, admitted

    def prefill(self, running: Running, count: int) -> str:
        """One chunk; why not, without memory. Each layer waits for its loads."""
        if self.decode_server.in_force:
            self.decode_server.arrive(running)
            return ""
        if self.budget.in_force:
            refused = self._form_batch(running, count)
        else:
            refused = "" if self._make_room(running, count) else "no device slots"
        if refused:
            return refused
        self.start_loading()
        self.lifecycle.settle(running)
        for event in self.unfinished(LOAD):
            event.synchronize()
        put_aside = self.lifecycle.plan_extend(running, running.committed + count)
        self._compute(running, count, put_aside)
        self.lifecycle.tracking.drain(but=running.name)
        self.lifecycle.cache_unfinished(running)
        self.submit_writes()
        if self.budget.in_force:
            self.budget.computed(running)
        return ""

    def _form_batch(self, running: Running, count: int) -> str:
        """Slots for all that this round of the scheduler admitted; why there are none."""
        if not self.budget.computes(running, count):
            return "the next chunk does not fit the budget"
        if self.budget.is_formed:
            return ""
        self.start_loading()
        try:
            self.budget.form()
        except OutOfMemory as problem:
            return str(problem)
        return ""

    def decode(self, running: Running, tokens: tuple[int, ...], ahead: int) -> bool:
        """``ahead``: as ``prepare_for_decode`` of speculative decoding takes slots for drafts."""
        if not self._make_room(running, len(tokens) + ahead):
            return False
        if not self.lifecycle.tracking.on:
            self.lifecycle.decoded(running, tokens)
            self._compute(running, len(tokens))
            return True
        for token in tokens:
            self.lifecycle.tracking.go_on(running.name)
            self.lifecycle.decoded(running, (token,))
            self.lifecycle.launch_step(running, partial(self._compute, running, 1))
        return True

    def _make_room(self, running: Running, count: int) -> bool:
        """Slots for ``count`` more tokens. A scheduler asks only for what could become free."""
        page, have = self.config.page_size, len(running.row)
        count = max(0, running.committed + count - have)
        fresh = -(-(have + count) // page) * page - -(-have // page) * page
        if fresh and not self._could_fit(fresh):
            return False
        self.lifecycle.bind(running)
        if fresh:
            allocation.evict_to_fit(self.built, fresh)
        slots = allocation.extend(self.built, running.row, count)
        if slots is None:
            return False
        self.lifecycle.add_slots(running, slots)
        return True

    def _could_fit(self, tokens: int) -> bool:
        """Free and evictable KV memory suffices, which is the scheduler's budget.

        States have none: their pool is large enough by construction (legal/states.py).
        """
        reach = self.lifecycle.admission.reach
        return all(reach(c) >= tokens for c in self.config.components if c != MAMBA)

    def _compute(self, running: Running, count: int, put_aside: Snapshotted | None = None) -> None:
        """The forward pass, which puts a state aside where it is told to."""
        begin, end = running.committed, running.committed + count
        bigram = self.config.bigram
        tags = kv_tags(running.namespace, running.tokens, end, bigram=bigram)
        first = rewritten_from(begin, fields.protected(running.req), bigram=bigram)
        payload.write(self.built, running.row[first:end], tags[first:])
        if self.config.has_mamba:
            computed = running.tokens[begin:end]
            states = self.lifecycle.states
            states.advance(running.req, running.namespace, computed, put_aside)
        self.lifecycle.committed(running, end)

    def finish(self, running: Running) -> None:
        if running.session:
            self._compute_what_was_sampled_last(running)
        self.lifecycle.finish(running)
        del self.requests[running.name]
        self.sessions.ended(running)
        self.submit_writes()

    def _compute_what_was_sampled_last(self, running: Running) -> None:
        """The forward pass under way when a turn ends, as overlapped scheduling, the default, has
        it: it computes the last token of the output where the turn has a slot for it.
        """
        running.tokens += (SAMPLED,)
        overlaps = not configuration.is_set(configuration.NO_OVERLAP)
        if overlaps and len(running.row) > running.committed:
            self._compute(running, 1)

    def abort(self, running: Running) -> None:
        if running in self.lifecycle.admission.unbound:
            self.sessions.leave_queue(running)
        self.lifecycle.abort(running)
        self.budget.forget(running)
        del self.requests[running.name]
        self.sessions.aborted(running)

    def reset(self) -> None:
        """``flush_cache`` of an idle scheduler."""
        self.tree.reset()
        self.sessions.forget_all()
        self.built.requests.clear()
        self.built.allocator.clear()

    def close(self) -> None:
        """End what runs beside the scheduler."""
        if self.storage is not None:
            self.storage.close()


def _held(locks: dict[str, Held], holder: str, tier: str) -> Held:
    if holder not in locks:
        raise IllegalUse(ErrorKind.PROTOCOL, f"the holder has no {tier} lock")
    return locks.pop(holder)
