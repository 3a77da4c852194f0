"""Requests, by the release's own request code.

``Req``, its matching, ``cache_unfinished_req`` / ``checkpoint_kv_cache``, ``release_kv_cache`` and
``_evict_swa`` are the release's. What is ours is the order of the calls, which is that of its
scheduler: ``PrefillAdder.add_one_req`` for an admission, ``process_batch_result`` for the rest.
Releases differ in what a request is and how it is cached; each difference is one function, here or
in fields.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang import configuration, fields
from radixproof.impl.sglang.admission import Admission
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.release import accepted
from radixproof.impl.sglang.running import Running
from radixproof.impl.sglang.states import States
from radixproof.impl.sglang.tracking import Snapshotted, Tracking
from radixproof.impl.sglang.windows import Windows
from radixproof.model.options import STRIPS_THINKING

MAX_NEW_TOKENS = 1 << 20
"""No request ends by length before the trace ends it."""

SAMPLED = 0
"""The token sampled last, which no trace decides; it has no KV until it is computed."""


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
        self.states = States(built)
        self.tracking = Tracking(built)
        self.admission = Admission(built, self.batch, self.states)
        self.windows = Windows(built, self.batch)

    # Before admission

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

    # Rows

    def _write_row(self, running: Running, begin: int) -> None:
        index = fields.held(running.req, "req_pool_idx")
        added = running.row[begin:].to(torch.int32)
        self.built.requests.write((index, slice(begin, len(running.row))), added)

    def bind(self, *batch: Running) -> None:
        """A row, and with MAMBA a state slot, for those of a batch that have none yet."""
        for running in batch:  # a turn of a session may have its row already
            if running in self.admission.unbound and fields.has_row(running.req):
                self.admission.unbound.remove(running)
        fresh = [running for running in batch if not fields.has_row(running.req)]
        if not fresh:
            return
        # Who goes on in chunks is part of the batch, and keeps its row.
        self.release.alloc_req_slots(self.built.requests, [r.req for r in batch], self.tree)
        for running in fresh:
            self.admission.unbound.remove(running)
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
        for event in self.admission.earlier_loads:
            event.synchronize()
        if self.built.controller is not None:
            counter = self.built.controller.layer_done_counter
            counter.set_consumer(counter.producer_index)
        self.states.settle([running.req, *(r.req for r in self.admission.unbound)])

    def add_slots(self, running: Running, slots: Tensor) -> None:
        """Newly allocated slots join the row."""
        begin = len(running.row)
        running.row = torch.cat([running.row, slots])
        self._write_row(running, begin)
        fields.hold(running.req, "kv_allocated_len", len(running.row))
        if hasattr(self.tree, "maybe_hand_to_session"):  # alloc_for_extend ends with it
            self.tree.maybe_hand_to_session(running.req)

    # Between admission and end

    def committed(self, running: Running, end: int) -> None:
        """The KV of all tokens before ``end`` is computed."""
        running.committed = end
        fields.hold(running.req, "kv_committed_len", end)

    def plan_extend(self, running: Running, end: int) -> Snapshotted | None:
        """What the forward pass up to ``end`` is to put aside in the tracking buffer."""
        if not self.tracking.on:
            return None
        fields.extend_to(self.release, running.req, end)
        if hasattr(running.req, "extend_input_len"):
            running.req.extend_input_len = end - fields.prefix_len(self.release, running.req)
        return self.tracking.plan_extend(running.req)

    def launch_step(self, running: Running, forward: Callable[[], None]) -> None:
        """A decode step of a server with tracking buffers; ``forward`` computes its token."""
        self.tracking.launch(running.name, running.req, running.committed, forward)
        fields.hold(running.req, "kv_allocated_len", len(running.row))

    def cache_unfinished(self, running: Running) -> None:
        """After a chunk: ``chunked`` while more of the prompt is to come."""
        req, end = running.req, running.committed
        fields.extend_to(self.release, req, end)
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

    def _reread_row(self, running: Running) -> None:
        """The row now holds the tree's slots where the tree had them already."""
        index = fields.held(running.req, "req_pool_idx")
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
        if running in self.admission.unbound:
            self.admission.unbound.remove(running)
            if not fields.has_row(running.req):
                self._forget(running.req)
            self.states.refuse(running.req)
            return
        running.req.finished_reason = self.release.schedule_batch.FINISH_ABORT("aborted")
        self._release(running.req, insert=False)

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
