"""A request by SGLang's own request code: in the queue, admitted, retracted."""

from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from sglang.srt.managers import schedule_batch
from sglang.srt.managers.schedule_batch import Req, ScheduleBatch
from sglang.srt.managers.schedule_policy import PrefillAdder
from sglang.srt.mem_cache import common
from sglang.srt.mem_cache.base_prefix_cache import InitLoadBackParams
from sglang.srt.sampling.sampling_params import SamplingParams

from radixproof.stateful_tests.export.parts.cache import EMPTY, Cache, accepted
from radixproof.stateful_tests.export.parts.holder import Holder

CHECKPOINTS = hasattr(common, "checkpoint_kv_cache")
"""Requests hold a lock object and are cached by ``checkpoint_kv_cache`` (from 0.5.23 on)."""


class Admission(Holder):
    """Waits until it is admitted; a waiting request holds nothing."""

    def __init__(
        self, cache: Cache, tokens: Sequence[int], *, namespace: str = "", priority: int = 0
    ) -> None:
        self.cache, self.tree, self.namespace = cache, cache.tree, namespace
        self.tokens = tuple(tokens)
        self.came_with = self.prompt = len(tokens)
        self.row, self.committed = EMPTY, 0
        self.req: Any = self.make(priority)
        self.batch = SimpleNamespace(
            tree_cache=cache.tree,
            req_to_token_pool=cache.rows,
            token_to_kv_pool_allocator=cache.allocator,
            is_hybrid_swa=bool(cache.swa_slots),
        )

    def make(self, priority: int) -> Any:
        made = Req(
            f"r{len(self.cache.running)}",
            "",
            array("q", self.tokens),
            SamplingParams(max_new_tokens=1 << 20),
            extra_key=self.namespace or None,
            priority=priority,
        )
        if isinstance(made.output_ids, list):  # until 0.5.12
            made.origin_input_ids = list(self.tokens)
        return made

    def refuse(self) -> "Admission":
        """Matched and pinned while the budget is added up, and let go because it is too small."""
        self.cache.used = (self.namespace, self.cache.units(self.tokens[:-1]))
        self.req.init_next_round_input(self.tree)
        with PrefillAdder._lock_node(self.batch, self.req.last_node):
            return self

    def admit(self, *, load_back: bool = True, quota: int | None = None) -> "Admission":
        """Matched, its prefix locked, and loaded back where that is asked."""
        self.cache.acting = self
        self.req.init_next_round_input(self.tree)
        hits = [getattr(self.req, f"{kind}host_hit_length", 0) for kind in ("", "swa_", "mamba_")]
        with PrefillAdder._lock_node(self.batch, self.req.last_node):
            if not self.fits():
                return self
            if load_back and any(hits) and self.cache.host_pools and self.cache.has_free_load():
                self.load_back(quota)
            if CHECKPOINTS:
                self.req.lock = self.tree.lock(self.req.last_node)
            else:
                PrefillAdder._req_inc_lock_ref(self.batch, self.req)
        self.row = self.prefix().to(torch.int64)
        self.committed = len(self.row)
        self.cache.running.append(self)
        return self

    def prefix(self) -> torch.Tensor:
        """The slots that its row begins with."""
        slots: torch.Tensor
        if CHECKPOINTS:
            slots = self.tree.prefix_device_indices(self.req)[: self.req.prefix_len]
        else:
            slots = self.req.prefix_indices
        return slots

    def anchor(self) -> Any:
        """The node that its lock is on."""
        return self.req.last_node

    def fits(self) -> bool:
        """Whether the budget reaches: only states are short enough to matter here."""
        return True

    def prefix_len(self) -> int:
        return int(self.req.prefix_len if CHECKPOINTS else len(self.req.prefix_indices))

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

    def set_output(self, sampled: Sequence[int]) -> None:
        as_list = isinstance(self.req.output_ids, list)
        self.req.output_ids = list(sampled) if as_list else array("q", sampled)
        if self.cache.arguments.strip_thinking_cache and sampled:
            self.req.reasoning_tokens = len(sampled)
