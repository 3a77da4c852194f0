"""One cache of a release under the operations of the vocabulary (model/operations.py).

What makes each use legal: clients.py says of which calls a client's own operations are made,
lifecycle.py of which those of requests are. Nothing is called that a server could not call in that
order; ``FailAllocation`` is not offered.
"""

from __future__ import annotations

from functools import partial

from radixproof.impl.sglang import allocation, configuration, fields, payload
from radixproof.impl.sglang.budget import Budget, OutOfMemory
from radixproof.impl.sglang.clients import Clients
from radixproof.impl.sglang.copies import Copies
from radixproof.impl.sglang.decode_server import DecodeServer
from radixproof.impl.sglang.events import EventLog
from radixproof.impl.sglang.lifecycle import SAMPLED, Lifecycle
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.queue import Queue
from radixproof.impl.sglang.running import Admitted, Running
from radixproof.impl.sglang.sessions import Sessions
from radixproof.impl.sglang.storage import StorageTier
from radixproof.impl.sglang.tracking import Snapshotted
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.operations import LOAD
from radixproof.model.payload import kv_tags, rewritten_from


class SglangCache:
    """Tree, pools, clients and running requests. Here: what requests do, one after the other."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.config = built.config
        self.release = built.release
        self.tree = built.tree
        self.lifecycle = Lifecycle(built)
        self.copies = Copies(built)
        self.clients = Clients(built, self.copies)
        self.kv_events = EventLog(built.tree, self.config.page_size, enabled=self.config.kv_events)
        self.requests: dict[str, Running] = {}
        self.budget = Budget(self.lifecycle, self.requests)
        self.decode_server = DecodeServer(self.lifecycle)
        self.sessions = Sessions(self.lifecycle, self.requests)
        self.queue = Queue(self.lifecycle, self.requests, self.budget, self.sessions)
        self.storage: StorageTier | None = None
        if self.config.storage is not None:
            self.storage = StorageTier(built)

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
        self.copies.start_loading()
        self.lifecycle.settle(running)
        for event in self.copies.unfinished(LOAD):
            event.synchronize()
        put_aside = self.lifecycle.plan_extend(running, running.committed + count)
        self._compute(running, count, put_aside)
        self.lifecycle.tracking.drain(but=running.name)
        self.lifecycle.cache_unfinished(running)
        self.copies.submit_writes()
        if self.budget.in_force:
            self.budget.computed(running)
        return ""

    def _form_batch(self, running: Running, count: int) -> str:
        """Slots for all that this round of the scheduler admitted; why there are none."""
        if not self.budget.computes(running, count):
            return "the next chunk does not fit the budget"
        if self.budget.is_formed:
            return ""
        self.copies.start_loading()
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
        """Slots for ``count`` more tokens. A scheduler asks only for what could become free.

        Under write-back that may be refused, where the store holds the host's memory: a server
        ends there. Here the request has no row then, as if it had not been in a batch.
        """
        page, have = self.config.page_size, len(running.row)
        count = max(0, running.committed + count - have)
        fresh = -(-(have + count) // page) * page - -(-have // page) * page
        if fresh and not self._could_fit(fresh):
            return False
        if self.config.has_mamba:
            self.lifecycle.bind(running)  # may evict states, before KV is evicted
        if fresh:
            allocation.evict_to_fit(self.built, fresh)
        slots = allocation.extend(self.built, running.row, count)
        if slots is None:
            return False
        self.lifecycle.bind(running)
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
        self.copies.submit_writes()

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
