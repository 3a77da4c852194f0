"""What a request does once it is admitted, in the order of SGLang's scheduler's calls."""

from collections.abc import Sequence
from typing import Any

import torch
from sglang.srt.managers import schedule_batch
from sglang.srt.managers.schedule_batch import FINISH_ABORT, FINISH_LENGTH, ScheduleBatch
from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.base_prefix_cache import DecLockRefParams

from radixproof.stateful_tests.export.parts.admission import CHECKPOINTS, Admission

try:
    from sglang.srt.mem_cache.allocation import alloc_req_slots
except ImportError:  # until 0.5.15
    from sglang.srt.mem_cache.common import alloc_req_slots


class Request(Admission):
    """Computes, is cached, and ends."""

    # Steps

    def grow(self, count: int) -> bool:
        """Slots for the next ``count`` tokens; False: there is no memory, nothing happened."""
        page, have = self.cache.page_size, len(self.row)
        count = max(0, self.committed + count - have)
        fresh = -(-(have + count) // page) * page - -(-have // page) * page
        if fresh and not self.cache.could_fit(fresh):
            return False
        self.bind()
        if fresh:
            self.cache.make_room(fresh)
        slots = self.cache.extend(self.cache, self.row, count)
        if slots is None:
            return False
        self.row = torch.cat([self.row, slots])
        self.write_row(have)
        self.put("kv_allocated_len", len(self.row))
        return True

    def bind(self) -> None:
        """A row, for a request that has none."""
        if self.get("req_pool_idx") is None:
            alloc_req_slots(self.cache.rows, [self.req], self.tree)
            if getattr(self.req, "kv", self.req) is None:
                kind = schedule_batch.ReqKvInfo
                self.req.kv = kind(kv_allocated_len=0, swa_evicted_seqlen=0)
            self.write_row(0)

    def write_row(self, begin: int) -> None:
        where = (self.get("req_pool_idx"), slice(begin, len(self.row)))
        self.cache.rows.write(where, self.row[begin:].to(torch.int32))

    def compute(self, count: int) -> None:
        """The forward pass over the next tokens."""
        begin, end = self.committed, self.committed + count
        if self.cache.bigram:  # the last pair is complete now
            begin = max(begin - 1, self.protected())
        self.cache.write(self.row[begin:end], self.namespace, self.tokens, begin)
        self.committed = end
        self.put("kv_committed_len", end)

    def prefill(self, count: int) -> bool:
        """One chunk of the prompt, computed and cached. Each layer waits for its loads."""
        self.cache.acting = self
        if not self.grow(count):
            return False
        if self.cache.host_pools:
            self.cache.start_loading()
        self.settle()
        if self.cache.host_pools:
            for acknowledgement in self.cache.acknowledgements("load"):
                acknowledgement.finish_event.synchronize()
        self.compute(count)
        self.extend_to(self.committed)
        if self.committed == self.prompt:
            self.output(())
        self.checkpoint()
        self.cache.submit_writes()
        return True

    def checkpoint(self) -> None:
        """What is computed goes into the tree, and the row has the tree's slots from then on."""
        if CHECKPOINTS:
            common.checkpoint_kv_cache(self.req, self.tree)
        else:
            chunked = {"chunked": True} if self.committed < self.prompt else {}
            common.maybe_cache_unfinished_req(self.req, self.tree, **chunked)
        row = self.cache.rows.req_to_token[self.get("req_pool_idx"), : len(self.row)]
        self.row = row.to(torch.int64)

    def settle(self) -> None:
        """What a forward pass does before its layers: with states alone, something."""

    def extend_to(self, end: int) -> None:
        """How far this forward pass computes the request."""
        if CHECKPOINTS:
            self.req.extend_end = end
        elif hasattr(self.req, "set_extend_range"):
            self.req.set_extend_range(len(self.req.prefix_indices), end)
        elif hasattr(self.req, "fill_len"):
            self.req.fill_len = end
        else:
            self.req.fill_ids = (self.req.origin_input_ids + self.req.output_ids)[:end]

    def output(self, tokens: Sequence[int]) -> None:
        """What was sampled; the last token, 0, has no KV yet."""
        self.tokens += tuple(tokens)
        self.set_output((*self.tokens[self.came_with :], 0))

    def decode(self, tokens: Sequence[int], *, ahead: int = 0) -> bool:
        """``ahead``: slots for tokens beyond, as speculative decoding takes them for drafts."""
        if not self.grow(len(tokens) + ahead):
            return False
        self.output(tokens)
        self.compute(len(tokens))
        return True

    def slide_window(self) -> None:
        """As the decode step that computed the last token began with it."""
        ScheduleBatch._evict_swa(self.batch, self.req, self.committed - 1)

    def release_window(self) -> None:
        """The SWA part of the lock is given back, once a window was decoded."""
        req, tree = self.req, self.tree
        if self.committed - self.prompt < self.cache.window or self.gave_window_back():
            return
        receipt = getattr(req, "lock_receipt", req)
        if CHECKPOINTS:
            tree.release_swa_prefix_lock(req)
        elif hasattr(tree, "dec_swa_lock_only") and receipt.swa_uuid_for_lock is not None:
            skipped = [req.skip_lock_node_ids] if hasattr(req, "skip_lock_node_ids") else []
            of_request = [req.swa_uuid_for_lock, *skipped] if receipt is req else [receipt]
            tree.dec_swa_lock_only(req.last_node, *of_request)
            req.swa_prefix_lock_released = True

    def gave_window_back(self) -> bool:
        if CHECKPOINTS:
            return self.req.lock is not None and bool(self.req.lock.swa_released)
        return bool(getattr(self.req, "swa_prefix_lock_released", False))

    # The end

    def finish(self) -> None:
        """Requests end with their frees held back until all of a batch have ended."""
        self.cache.acting = self
        self.req.finished_reason = self.reason()
        self.cache.allocator.free_group_begin()
        self.release(True)
        self.cache.allocator.free_group_end()

    def reason(self) -> Any:
        return FINISH_LENGTH(length=len(self.req.output_ids))

    def abort(self) -> None:
        if self not in self.cache.running:
            return
        if self.get("req_pool_idx") is not None:
            self.req.finished_reason = FINISH_ABORT("aborted")
            self.release(False)
            return
        self.cache.running.remove(self)
        self.forget()

    def forget(self) -> None:
        """It was admitted and has allocated nothing: its lock is given back."""
        if CHECKPOINTS:
            self.tree.unlock(self.req.lock)
        elif hasattr(self.req, "lock_receipt"):
            self.tree.dec_lock_ref(self.req.last_node, self.req.lock_receipt)
        else:
            mark = DecLockRefParams(swa_uuid_for_lock=self.req.swa_uuid_for_lock)
            self.tree.dec_lock_ref(self.req.last_node, mark)

    def release(self, insert: bool) -> None:
        name = "checkpoint" if CHECKPOINTS else "is_insert"
        common.release_kv_cache(self.req, self.tree, **{name: insert})
        self.cache.running.remove(self)
        self.cache.submit_writes()
