"""Requests, by the release's own request code.

``Req``, its matching, ``cache_unfinished_req`` / ``checkpoint_kv_cache``, ``release_kv_cache`` and
``_evict_swa`` are the release's. What is ours is the order of the calls, which is that of its
scheduler: ``PrefillAdder.add_one_req`` for an admission, ``process_batch_result`` for the rest.
Releases differ in how a request is held and cached; each difference is one method here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang import configuration
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.release import accepted
from radixproof.impl.sglang.states import States
from radixproof.impl.sglang.tracking import Snapshotted, Tracking
from radixproof.model.config import FULL, SWA
from radixproof.model.operations import LOAD
from radixproof.model.options import STRIPS_THINKING

MAX_NEW_TOKENS = 1 << 20
"""No request ends by length before the trace ends it."""

SAMPLED = 0
"""The token sampled last, which no trace decides; it has no KV until it is computed."""


class BrokenPromise(RuntimeError):
    """A load-back brought some of the tokens that the match promised, neither all nor none.

    From 0.5.20 on the scheduler raises on it.
    """


@dataclass(slots=True, eq=False)
class Running:
    """A request between admission and its end. ``tokens``: prompt and what was decoded."""

    name: str
    namespace: str
    tokens: tuple[int, ...]
    prompt_len: int
    priority: int
    req: Any
    row: Tensor
    """FULL slots of all allocated tokens."""
    committed: int = 0
    origin_len: int = 0
    """Tokens that it came with; a retracted request has a longer prompt."""
    session: str = ""
    """Whose turn it is; '': nobody's."""
    rejected: bool = False
    """A server's answer to a turn that it does not accept: it ends with its first chunk."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a request's match found, in tokens."""

    device_hit: int
    host_hit: int
    swa_host_hit: int
    mamba_host_hit: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admission found and did."""

    hits: Hits
    loaded: bool


class Lifecycle:
    """Admission, prefill, decode, finish and abort of requests on one cache."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.release = built.release
        self.tree = built.tree
        self.batch = SimpleNamespace(
            tree_cache=built.tree,
            req_to_token_pool=built.requests,
            token_to_kv_pool_allocator=built.allocator,
            is_hybrid_swa=built.config.has_swa,
        )
        """What the methods of ScheduleBatch and PrefillAdder read of ``self``."""
        self.states = States(built, self.held, self.hold)
        self.tracking = Tracking(built, self.held)
        self.unbound: list[Running] = []
        """Admitted and without a row: the next batch."""
        self._earlier_loads: list[Any] = []
        """Finish events of the loads that an earlier forward pass has waited for."""

    # Fields that moved from the request into ``req.kv``, some in 0.5.17, the rest in 0.5.19

    def held(self, req: Any, name: str) -> Any:
        return getattr(req if hasattr(req, name) else req.kv, name)

    def hold(self, req: Any, name: str, value: Any) -> None:
        setattr(req if hasattr(req, name) else req.kv, name, value)

    def protected(self, req: Any) -> int:
        return int(self.held(req, "cache_protected_len"))

    def swa_evicted(self, req: Any) -> int:
        if not self.built.config.has_swa:
            return 0
        kv = getattr(req, "kv", req)
        if kv is None:  # 0.5.17 and 0.5.18 make it with the first slots
            return 0
        if hasattr(kv, "get_evicted_seqlen"):
            return int(kv.get_evicted_seqlen(self.release.ComponentType.SWA))
        return int(kv.swa_evicted_seqlen)

    def prefix_len(self, req: Any) -> int:
        return int(req.prefix_len if self.release.checkpoints else len(req.prefix_indices))

    # Admission

    def new(self, name: str, namespace: str, tokens: tuple[int, ...], priority: int) -> Running:
        req = self.release.schedule_batch.Req(
            name,
            "",
            array("q", tokens),
            self.sampling(),
            extra_key=namespace or None,
            priority=priority,
        )
        if isinstance(req.output_ids, list):  # 0.5.12 keeps tokens in lists
            req.origin_input_ids = list(tokens)
        return self.running(name, namespace, tokens, priority, req)

    def running(
        self, name: str, namespace: str, tokens: tuple[int, ...], priority: int, req: Any
    ) -> Running:
        """A request of the release that holds nothing yet."""
        empty = torch.empty((0,), dtype=torch.int64)
        length = len(tokens)
        return Running(name, namespace, tokens, length, priority, req, empty, origin_len=length)

    def sampling(self) -> Any:
        limit = self.built.config.max_new_tokens or MAX_NEW_TOKENS
        return self.release.SamplingParams(max_new_tokens=limit)

    def sequence(self, tokens: tuple[int, ...]) -> Any:
        """Tokens in the type that the release keeps them in."""
        like = self.release.schedule_batch.Req("", "", array("q"), self.sampling()).output_ids
        return list(tokens) if isinstance(like, list) else array("q", tokens)

    def match(self, req: Any) -> Hits:
        """All tokens but the last, by the release's own request code."""
        req.init_next_round_input(self.tree)
        swa = getattr(req, "swa_host_hit_length", 0)
        mamba = getattr(req, "mamba_host_hit_length", 0)
        return Hits(self.prefix_len(req), req.host_hit_length, swa, mamba)

    def refuse(self, new: Running) -> Hits:
        """``add_one_req`` where the budget does not reach: match, pin, add up, let go."""
        with self.states.candidate():
            hits = self.match(new.req)
            with self._temporary_lock(new.req.last_node):
                pass
            self.states.refuse(new.req)
        return hits

    def admit(self, new: Running, *, load_back: bool, mem_quota: int | None) -> Admitted | None:
        """Match, hold the prefix, load back, lock for good: ``add_one_req`` and its caller.

        ``None``: with MAMBA, the budget does not reach.
        """
        req = new.req
        if not self.unbound:
            self._earlier_loads = [a.finish_event for a in self.built.queues(LOAD)[1]]
        with self.states.candidate():
            hits, loaded = self.match(req), False
            on_host = hits.host_hit or hits.swa_host_hit or hits.mamba_host_hit
            with self._temporary_lock(req.last_node):
                if self.built.config.has_mamba and not self._fits(new, hits):
                    self.states.refuse(req)
                    return None
                if load_back and on_host and self.has_free_load():
                    loaded = self._load_back(req, mem_quota)
                self._lock_for_good(req)
        self.admitted(new)
        return Admitted(hits, loaded)

    def admitted(self, new: Running) -> None:
        """Its row begins with the prefix that it holds now."""
        new.row = self._prefix_slots(new.req).to(torch.int64)
        new.committed = len(new.row)
        self.unbound.append(new)

    def preallocated(self, new: Running, prefix_len: int) -> None:
        """It has a row already, of which the KV of a prefix is there; something always arrives."""
        index = self.held(new.req, "req_pool_idx")
        row = self.built.requests.req_to_token[index, : len(new.tokens)]
        new.row, new.committed = row.to(torch.int64), min(prefix_len, len(new.tokens) - 1)

    def _fits(self, new: Running, hits: Hits) -> bool:
        """The least that ``add_one_req`` wants to be free or evictable, with one token to decode.

        A request that does not get it would go on from a refused load-back.
        """
        page, built = self.built.config.page_size, self.built
        extend = len(new.tokens) - hits.device_hit
        promised = sum(len(r.tokens) - len(r.row) + 1 + page for r in self.unbound)
        if extend + 1 + page + promised >= self._reach(FULL):
            return False
        if not built.config.has_swa:
            return True
        window = max(extend, built.config.sliding_window) + page + hits.swa_host_hit
        return window + promised < self._reach(SWA)

    def _reach(self, component: str) -> int:
        """Tokens that are free or evictable."""
        evictable = getattr(self.tree, f"{component}_evictable_size")()
        return int(self.built.device_allocator(component).available_size() + evictable)

    def has_free_load(self) -> bool:
        """Releases keep at most three loads unfinished; a scheduler asks first where it can."""
        controller = self.built.controller
        if controller is None:
            return False
        if hasattr(self.tree, "has_free_load_back_slot"):
            return bool(self.tree.has_free_load_back_slot())
        return bool(len(controller.ack_load_queue) < controller.layer_done_counter.num_counters)

    def _temporary_lock(self, node: Any) -> Any:
        return self.release.schedule_policy.PrefillAdder._lock_node(self.batch, node)

    def _load_back(self, req: Any, mem_quota: int | None) -> bool:
        """``init_load_back`` as ``add_one_req`` calls it; whether anything was loaded."""
        params = self.release.params.InitLoadBackParams(
            best_match_node=req.best_match_node,
            host_hit_length=req.host_hit_length,
            mem_quota=mem_quota,
            req=req,
        )
        before = self.loads()
        promised = req.host_hit_length
        if self.release.checkpoints:
            with self.release.schedule_policy.PrefillAdder._lock_node(
                self.batch, req.best_match_node, lock_host=True
            ):
                count, req.last_node = self.tree.init_load_back(params)
            if 0 < count < promised:
                raise BrokenPromise(f"load-back of {count} tokens, promised {promised}")
            req.prefix_len += count
            req.kv.cache_protected_len = req.prefix_len
        else:
            slots, req.last_node = self.tree.init_load_back(params)
            if hasattr(req, "host_loaded_length") and 0 < len(slots) < promised:
                raise BrokenPromise(f"load-back of {len(slots)} tokens, promised {promised}")
            req.prefix_indices = torch.cat([req.prefix_indices, slots])
            self.hold(req, "cache_protected_len", len(req.prefix_indices))
        return self.loads() > before

    def loads(self) -> int:
        return len(self.tree.ongoing_load_back)

    def _lock_for_good(self, req: Any) -> None:
        if self.release.checkpoints:
            req.lock = self.tree.lock(req.last_node)
        else:
            self.release.schedule_policy.PrefillAdder._req_inc_lock_ref(self.batch, req)

    def holds_lock(self, req: Any) -> bool:
        """Whether a lock is the request's own; not since a session has it (0.5.22 on)."""
        return not self.release.checkpoints or req.lock is not None

    def receipt(self, req: Any) -> Any:
        """What has to be given back to release a lock that is the request's own."""
        if self.release.checkpoints:
            return req.lock.receipt
        return getattr(req, "lock_receipt", req)  # until 0.5.19 the mark is the request's own

    def _prefix_slots(self, req: Any) -> Tensor:
        if self.has_row(req):  # of a session, which the turn goes on with
            row = self.built.requests.req_to_token[self.held(req, "req_pool_idx")]
            return row[: self.prefix_len(req)].to(torch.int64)  # type: ignore[no-any-return]
        if self.release.checkpoints:
            slots: Tensor = self.tree.prefix_device_indices(req)
            return slots[: req.prefix_len]
        return req.prefix_indices  # type: ignore[no-any-return]

    def _write_row(self, running: Running, begin: int) -> None:
        index = self.held(running.req, "req_pool_idx")
        added = running.row[begin:].to(torch.int32)
        self.built.requests.write((index, slice(begin, len(running.row))), added)

    def bind(self, *batch: Running) -> None:
        """A row, and with MAMBA a state slot, for those of a batch that have none yet."""
        for running in batch:  # a turn of a session may have its row already
            if running in self.unbound and self.has_row(running.req):
                self.unbound.remove(running)
        fresh = [running for running in batch if not self.has_row(running.req)]
        if not fresh:
            return
        # Who goes on in chunks is part of the batch, and keeps its row.
        self.release.alloc_req_slots(self.built.requests, [r.req for r in batch], self.tree)
        for running in fresh:
            self.unbound.remove(running)
            if getattr(running.req, "kv", running.req) is None:
                kind = self.release.schedule_batch.ReqKvInfo
                running.req.kv = kind(kv_allocated_len=0, swa_evicted_seqlen=0)
            self._write_row(running, 0)

    def settle(self, running: Running) -> None:
        """The forward pass of a batch begins: what is outstanding on its state slots is done.

        The batch is all that was admitted; those without a slot get one with their row. Its own
        loads may still run: a release waits for what it reads (``HybridReqToTokenPool``).
        """
        if not self.built.config.has_mamba:
            return
        for event in self._earlier_loads:
            event.synchronize()
        if self.built.controller is not None:
            counter = self.built.controller.layer_done_counter
            counter.set_consumer(counter.producer_index)
        self.states.settle([running.req, *(r.req for r in self.unbound)])

    def add_slots(self, running: Running, slots: Tensor) -> None:
        """Newly allocated slots join the row."""
        begin = len(running.row)
        running.row = torch.cat([running.row, slots])
        self._write_row(running, begin)
        self.hold(running.req, "kv_allocated_len", len(running.row))
        if hasattr(self.tree, "maybe_hand_to_session"):  # alloc_for_extend ends with it
            self.tree.maybe_hand_to_session(running.req)

    # Between admission and end

    def committed(self, running: Running, end: int) -> None:
        """The KV of all tokens before ``end`` is computed."""
        running.committed = end
        self.hold(running.req, "kv_committed_len", end)

    def plan_extend(self, running: Running, end: int) -> Snapshotted | None:
        """What the forward pass up to ``end`` is to put aside in the tracking buffer."""
        if not self.tracking.on:
            return None
        self._extend_to(running.req, end)
        if hasattr(running.req, "extend_input_len"):
            running.req.extend_input_len = end - self.prefix_len(running.req)
        return self.tracking.plan_extend(running.req)

    def launch_step(self, running: Running, forward: Callable[[], None]) -> None:
        """A decode step of a server with tracking buffers; ``forward`` computes its token."""
        self.tracking.launch(running.name, running.req, running.committed, forward)
        self.hold(running.req, "kv_allocated_len", len(running.row))

    def cache_unfinished(self, running: Running) -> None:
        """After a chunk: ``chunked`` while more of the prompt is to come."""
        req, end = running.req, running.committed
        self._extend_to(req, end)
        if end == running.prompt_len:
            self.decoded(running, ())  # the first output token is sampled before the insert
        if running.rejected:
            return
        if self.release.checkpoints:
            self.release.common.checkpoint_kv_cache(req, self.tree)
        else:
            chunked = {"chunked": True} if end < running.prompt_len else {}
            self.release.common.maybe_cache_unfinished_req(req, self.tree, **chunked)
        self._reread_row(running)

    def _extend_to(self, req: Any, end: int) -> None:
        """How far this forward pass has computed the request."""
        if self.release.checkpoints:
            req.extend_end = end
        elif hasattr(req, "set_extend_range"):
            req.set_extend_range(self.prefix_len(req), end)
        elif hasattr(req, "fill_len"):
            req.fill_len = end
        else:
            req.fill_ids = (req.origin_input_ids + req.output_ids)[:end]

    def _reread_row(self, running: Running) -> None:
        """The row now holds the tree's slots where the tree had them already."""
        index = self.held(running.req, "req_pool_idx")
        row = self.built.requests.req_to_token[index, : len(running.row)]
        running.row = row.to(torch.int64)

    def decoded(self, running: Running, tokens: tuple[int, ...]) -> None:
        """The output so far; the token sampled last has no KV yet."""
        running.tokens += tokens
        self._set_output(running, SAMPLED)

    def _set_output(self, running: Running, *pending: int) -> None:
        """``pending``: sampled, and not computed yet."""
        output = [*running.tokens[running.origin_len :], *pending]
        as_list = isinstance(running.req.output_ids, list)
        running.req.output_ids = output if as_list else array("q", output)
        if STRIPS_THINKING in self.release.options and output:
            running.req.reasoning_tokens = len(output)

    def slide_window(self, running: Running) -> None:
        """``ScheduleBatch._evict_swa``, as the step that computed the last token began with it.

        A scheduler slides while it prepares a step (``maybe_evict_swa``, ``seqlen - 1``), and
        nothing happens to the request before that step has computed one token more.
        """
        batch = self.release.schedule_batch.ScheduleBatch
        batch._evict_swa(self.batch, running.req, running.committed - 1)

    def released_window(self, req: Any) -> bool:
        """Whether the SWA part of the request's lock was given back early."""
        if self.release.checkpoints:
            return req.lock is not None and bool(req.lock.swa_released)
        return bool(getattr(req, "swa_prefix_lock_released", False))

    def release_window(self, running: Running) -> bool:
        """Early release, as ``maybe_evict_swa`` does it with the flag on; False: not yet, or not
        again.
        """
        req, tree = running.req, self.tree
        decoded = running.committed - running.prompt_len
        if decoded < self.built.config.sliding_window or self.released_window(req):
            return False
        if self.release.checkpoints:
            tree.release_swa_prefix_lock(req)
            return self.released_window(req)
        receipt = self.receipt(req)
        if not hasattr(tree, "dec_swa_lock_only") or receipt.swa_uuid_for_lock is None:
            return False
        if receipt is not req:
            tree.dec_swa_lock_only(req.last_node, receipt)
        elif hasattr(req, "skip_lock_node_ids"):
            tree.dec_swa_lock_only(req.last_node, req.swa_uuid_for_lock, req.skip_lock_node_ids)
        else:
            tree.dec_swa_lock_only(req.last_node, req.swa_uuid_for_lock)
        req.swa_prefix_lock_released = True
        return True

    # The end

    def finish(self, running: Running) -> None:
        req = running.req
        if running.rejected:
            req.finished_reason, req.to_finish = req.to_finish, None
        else:
            length = len(req.output_ids)
            req.finished_reason = self.release.schedule_batch.FINISH_LENGTH(length=length)
        with self._grouped_frees():
            if not self.tracking.finish(running.name):
                self._release(req, insert=True)

    @contextmanager
    def _grouped_frees(self) -> Iterator[None]:
        """``process_batch_result_decode`` ends requests with their frees held back till the end."""
        self.built.allocator.free_group_begin()
        yield
        self.built.allocator.free_group_end()

    def abort(self, running: Running) -> None:
        self.tracking.forget(running.name)
        if running in self.unbound:
            self.unbound.remove(running)
            if not self.has_row(running.req):
                self._forget(running.req)
            self.states.refuse(running.req)
            return
        running.req.finished_reason = self.release.schedule_batch.FINISH_ABORT("aborted")
        self._release(running.req, insert=False)

    def has_row(self, req: Any) -> bool:
        """Whether the request was part of a batch, or goes on from a session: it has slots."""
        return self.held(req, "req_pool_idx") is not None

    # Sessions

    @property
    def slots(self) -> Any:
        """The records that sessions keep, by name."""
        session = getattr(self.tree, "session", None)
        return {} if session is None else session.slots

    def record_index(self, slot: Any) -> Any:
        """The row of a session's record; ``None``: it holds no KV."""
        if getattr(slot, "kv", slot) is None:
            return None
        return self.held(slot, "req_pool_idx")

    def lent_slot(self, running: Running) -> Any:
        """The record on which a turn runs, or one that was not accepted; ``None``: on its own."""
        session = running.req.session
        slot = None if session is None else self.slots.get(session.session_id)
        lent = slot is not None and running.req.last_node is slot.virtual_node
        return slot if lent else None

    def anchor(self, running: Running) -> Any:
        """The node that the request's lock, or that of its session, is on."""
        slot = self.lent_slot(running)
        return running.req.last_node if slot is None else self.anchor_of_slot(slot)

    def anchor_of_slot(self, slot: Any) -> Any:
        return slot.lock.node if self.release.checkpoints else slot.last_node

    def receipt_of_slot(self, slot: Any) -> Any:
        """What has to be given back to release a session's lock."""
        if self.release.checkpoints:
            return slot.lock.receipt
        return getattr(slot, "lock_receipt", slot)

    def retract(self, running: Running) -> None:
        """``release_req``, for the last request of a batch: it evicts nothing for those that stay.

        With overlapped scheduling, the default, the token sampled last is not known yet when a
        request is retracted, and is sampled again.
        """
        if running.session:
            self._set_output(running)  # what is told is what its session goes on from
        release = self.release.schedule_batch
        self.tracking.forget(running.name)
        if hasattr(release, "release_req"):
            arguments = {
                "req": running.req,
                "remaing_req_count": 0,
                "server_args": configuration.Arguments.current,
                "req_to_token_pool": self.built.requests,
                "token_to_kv_pool_allocator": self.built.allocator,
                "tree_cache": self.tree,
                "hisparse_coordinator": None,
            }
            release.release_req(**accepted(release.release_req, **arguments))
        else:  # until 0.5.12 it is a method of the batch
            batch = SimpleNamespace(
                **vars(self.batch), reqs=[running.req], hisparse_coordinator=None
            )
            arguments_now = configuration.Arguments.current
            release.ScheduleBatch.release_req(batch, 0, 0, arguments_now)
        self._set_output(running)
        running.prompt_len = len(running.tokens)
        running.row, running.committed = running.row[:0], 0

    def _forget(self, req: Any) -> None:
        """A request that was admitted and has allocated nothing gives its lock back."""
        if self.release.checkpoints:
            self.tree.unlock(req.lock)
        elif hasattr(req, "lock_receipt"):
            self.tree.dec_lock_ref(req.last_node, req.lock_receipt)
        else:
            params = self.release.params.DecLockRefParams(swa_uuid_for_lock=req.swa_uuid_for_lock)
            self.tree.dec_lock_ref(req.last_node, params)

    def _release(self, req: Any, *, insert: bool) -> None:
        if self.release.checkpoints:
            self.release.common.release_kv_cache(req, self.tree, checkpoint=insert)
        else:
            self.release.common.release_kv_cache(req, self.tree, is_insert=insert)
