"""A request by SGLang's own request code, in the order of its scheduler's calls."""

from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from sglang.srt.managers import schedule_batch
from sglang.srt.managers.schedule_batch import FINISH_ABORT, FINISH_LENGTH, Req, ScheduleBatch
from sglang.srt.managers.schedule_policy import PrefillAdder
from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.base_prefix_cache import DecLockRefParams, InitLoadBackParams
from sglang.srt.mem_cache.unified_radix_cache import ComponentType
from sglang.srt.sampling.sampling_params import SamplingParams

from radixproof.stateful_tests.export.parts.cache import EMPTY, Cache, accepted

CHECKPOINTS = hasattr(common, "checkpoint_kv_cache")
"""Requests hold a lock object and are cached by ``checkpoint_kv_cache`` (from 0.5.23 on)."""


class Request:
    """Waits until it is admitted; a waiting request holds nothing."""

    def __init__(
        self, cache: Cache, tokens: Sequence[int], *, namespace: str = "", priority: int = 0
    ) -> None:
        self.cache, self.tree, self.namespace = cache, cache.tree, namespace
        self.tokens = tuple(tokens)
        self.came_with = self.prompt = len(tokens)
        self.row, self.committed = EMPTY, 0
        self.req: Any = Req(
            f"r{len(cache.running)}",
            "",
            array("q", tokens),
            SamplingParams(max_new_tokens=1 << 20),
            extra_key=namespace or None,
            priority=priority,
        )
        if isinstance(self.req.output_ids, list):  # until 0.5.12
            self.req.origin_input_ids = list(tokens)
        self.batch = SimpleNamespace(
            tree_cache=cache.tree,
            req_to_token_pool=cache.rows,
            token_to_kv_pool_allocator=cache.allocator,
            is_hybrid_swa=bool(cache.swa_slots),
        )

    # In and out of the queue

    def refuse(self) -> "Request":
        """Matched and pinned while the budget is added up, and let go because it is too small."""
        self.cache.used = (self.namespace, self.tokens[:-1])
        self.req.init_next_round_input(self.tree)
        with PrefillAdder._lock_node(self.batch, self.req.last_node):
            return self

    def admit(self, *, load_back: bool = True, quota: int | None = None) -> "Request":
        """Matched, its prefix locked, and loaded back where that is asked."""
        self.req.init_next_round_input(self.tree)
        hits = self.req.host_hit_length, getattr(self.req, "swa_host_hit_length", 0)
        with PrefillAdder._lock_node(self.batch, self.req.last_node):
            if load_back and any(hits) and self.cache.host_pools and self.cache.has_free_load():
                self.load_back(quota)
            if CHECKPOINTS:
                self.req.lock = self.tree.lock(self.req.last_node)
            else:
                PrefillAdder._req_inc_lock_ref(self.batch, self.req)
        if CHECKPOINTS:
            row = self.tree.prefix_device_indices(self.req)[: self.req.prefix_len]
        else:
            row = self.req.prefix_indices
        self.row = row.to(torch.int64)
        self.committed = len(self.row)
        self.cache.running.append(self)
        return self

    def retract(self) -> None:
        """Memory is given up, and the request waits with all its tokens so far for a prompt."""
        release = getattr(schedule_batch, "release_req", None)
        if release is not None:
            arguments = {
                "req": self.req,
                "remaing_req_count": 0,
                "server_args": self.cache.arguments,
                "req_to_token_pool": self.cache.rows,
                "token_to_kv_pool_allocator": self.cache.allocator,
                "tree_cache": self.tree,
                "hisparse_coordinator": None,
            }
            release(**accepted(release, **arguments))
        else:  # until 0.5.12
            batch = SimpleNamespace(**vars(self.batch), reqs=[self.req], hisparse_coordinator=None)
            ScheduleBatch.release_req(batch, 0, 0, self.cache.arguments)
        self.set_output(self.tokens[self.came_with :])
        self.prompt = len(self.tokens)
        self.row, self.committed = EMPTY, 0
        self.cache.running.remove(self)

    def load_back(self, quota: int | None) -> None:
        params = InitLoadBackParams(
            best_match_node=self.req.best_match_node,
            host_hit_length=self.req.host_hit_length,
            mem_quota=quota,
            req=self.req,
        )
        if CHECKPOINTS:
            target = self.req.best_match_node
            with PrefillAdder._lock_node(self.batch, target, lock_host=True):
                count, self.req.last_node = self.tree.init_load_back(params)
            self.req.prefix_len += count
            self.req.kv.cache_protected_len = self.req.prefix_len
        else:
            slots, self.req.last_node = self.tree.init_load_back(params)
            count = len(slots)
            self.req.prefix_indices = torch.cat([self.req.prefix_indices, slots])
            self.put("cache_protected_len", len(self.req.prefix_indices))
        promised = self.req.host_hit_length
        all_or_nothing = CHECKPOINTS or hasattr(self.req, "host_loaded_length")
        if all_or_nothing and 0 < count < promised:
            raise RuntimeError(f"{count} tokens came back of {promised} that the match promised")

    # Fields that moved from the request into ``req.kv``

    def get(self, name: str) -> Any:
        return getattr(self.req if hasattr(self.req, name) else self.req.kv, name)

    def put(self, name: str, value: Any) -> None:
        setattr(self.req if hasattr(self.req, name) else self.req.kv, name, value)

    def protected(self) -> int:
        return int(self.get("cache_protected_len"))

    def swa_evicted(self) -> int:
        kv = getattr(self.req, "kv", self.req)
        if not self.cache.swa_slots or kv is None:
            return 0
        if hasattr(kv, "get_evicted_seqlen"):
            return int(kv.get_evicted_seqlen(ComponentType.SWA))
        return int(kv.swa_evicted_seqlen)

    # Steps

    def grow(self, count: int) -> bool:
        """Slots for the next ``count`` tokens; False: there is no memory, nothing happened."""
        page, have = self.cache.page_size, len(self.row)
        count = max(0, self.committed + count - have)
        fresh = -(-(have + count) // page) * page - -(-have // page) * page
        if fresh and not self.cache.make_room(fresh):
            return False
        slots = self.cache.extend(self.cache, self.row, count)
        if slots is None:
            return False
        begin = have
        if self.get("req_pool_idx") is None:
            self.cache.rows.alloc([self.req])
            if getattr(self.req, "kv", self.req) is None:
                kind = schedule_batch.ReqKvInfo
                self.req.kv = kind(kv_allocated_len=0, swa_evicted_seqlen=0)
            begin = 0
        self.row = torch.cat([self.row, slots])
        where = (self.get("req_pool_idx"), slice(begin, len(self.row)))
        self.cache.rows.write(where, self.row[begin:].to(torch.int32))
        self.put("kv_allocated_len", len(self.row))
        return True

    def compute(self, count: int) -> None:
        """The forward pass over the next tokens."""
        begin, end = self.committed, self.committed + count
        self.cache.write(self.row[begin:end], self.namespace, self.tokens[:end], begin)
        self.committed = end
        self.put("kv_committed_len", end)

    def prefill(self, count: int) -> bool:
        """One chunk of the prompt, computed and cached. The forward pass waits for all loads."""
        if not self.grow(count):
            return False
        if self.cache.host_pools:
            self.cache.start_loading()
            for acknowledgement in self.cache.acknowledgements("load"):
                acknowledgement.finish_event.synchronize()
        self.compute(count)
        self.extend_to(self.committed)
        if self.committed == self.prompt:
            self.output(())
        if CHECKPOINTS:
            common.checkpoint_kv_cache(self.req, self.tree)
        else:
            chunked = {"chunked": True} if self.committed < self.prompt else {}
            common.maybe_cache_unfinished_req(self.req, self.tree, **chunked)
        row = self.cache.rows.req_to_token[self.get("req_pool_idx"), : len(self.row)]
        self.row = row.to(torch.int64)
        self.cache.submit_writes()
        return True

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

    def set_output(self, sampled: Sequence[int]) -> None:
        as_list = isinstance(self.req.output_ids, list)
        self.req.output_ids = list(sampled) if as_list else array("q", sampled)

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
        if self.committed - self.prompt < self.cache.window:
            return
        receipt = getattr(req, "lock_receipt", req)
        if CHECKPOINTS:
            tree.release_swa_prefix_lock(req)
        elif hasattr(tree, "dec_swa_lock_only") and receipt.swa_uuid_for_lock is not None:
            skipped = [req.skip_lock_node_ids] if hasattr(req, "skip_lock_node_ids") else []
            of_request = [req.swa_uuid_for_lock, *skipped] if receipt is req else [receipt]
            tree.dec_swa_lock_only(req.last_node, *of_request)
            req.swa_prefix_lock_released = True

    # The end

    def finish(self) -> None:
        """Requests end with their frees held back until all of a batch have ended."""
        self.req.finished_reason = FINISH_LENGTH(length=len(self.req.output_ids))
        self.cache.allocator.free_group_begin()
        self.release(True)
        self.cache.allocator.free_group_end()

    def abort(self) -> None:
        if self not in self.cache.running:
            return
        if self.get("req_pool_idx") is not None:
            self.req.finished_reason = FINISH_ABORT("aborted")
            self.release(False)
            return
        self.cache.running.remove(self)
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
