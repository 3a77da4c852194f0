"""The admission of one request: ``PrefillAdder.add_one_req`` and its caller, step by step.

The matching, the locks and the load-back are the release's; the order is that of its scheduler.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.copies import has_free_load
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.running import Admitted, Hits, Running
from radixproof.impl.sglang.states import States
from radixproof.model.config import FULL, SWA
from radixproof.model.operations import LOAD


class BrokenPromise(RuntimeError):
    """A load-back brought some of the tokens that the match promised, neither all nor none.

    From 0.5.20 on the scheduler raises on it.
    """


class Admission:
    """Of one cache."""

    def __init__(self, built: Built, batch: Any, states: States) -> None:
        """``batch``: what methods of ``PrefillAdder`` read of ``self``."""
        self.built = built
        self.release = built.release
        self.tree = built.tree
        self.batch = batch
        self.states = states
        self.unbound: list[Running] = []
        """Admitted and without a row: the next batch."""
        self.earlier_loads: list[Any] = []
        """Finish events of the loads that an earlier forward pass has waited for."""

    def match(self, req: Any) -> Hits:
        """All tokens but the last, by the release's own request code."""
        req.init_next_round_input(self.tree)
        swa = getattr(req, "swa_host_hit_length", 0)
        mamba = getattr(req, "mamba_host_hit_length", 0)
        return Hits(fields.prefix_len(self.release, req), req.host_hit_length, swa, mamba)

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
            self.earlier_loads = [a.finish_event for a in self.built.queues(LOAD)[1]]
        with self.states.candidate():
            hits, loaded = self.match(req), False
            on_host = hits.host_hit or hits.swa_host_hit or hits.mamba_host_hit
            with self._temporary_lock(req.last_node):
                if self.built.config.has_mamba and not self._fits(new, hits):
                    self.states.refuse(req)
                    return None
                if load_back and on_host and has_free_load(self.built):
                    loaded = self._load_back(req, mem_quota)
                self._lock_for_good(req)
        self.admitted(new)
        return Admitted(hits, loaded)

    def admitted(self, new: Running) -> None:
        """Its row begins with the prefix that it holds now."""
        new.row = self._prefix_slots(new.req).to(torch.int64)
        new.committed = len(new.row)
        self.unbound.append(new)

    def _fits(self, new: Running, hits: Hits) -> bool:
        """The least that ``add_one_req`` wants to be free or evictable, with one token to decode.

        A request that does not get it would go on from a refused load-back.
        """
        page, built = self.built.config.page_size, self.built
        extend = len(new.tokens) - hits.device_hit
        promised = sum(len(r.tokens) - len(r.row) + 1 + page for r in self.unbound)
        if extend + 1 + page + promised >= self.reach(FULL):
            return False
        if not built.config.has_swa:
            return True
        window = max(extend, built.config.sliding_window) + page + hits.swa_host_hit
        return window + promised < self.reach(SWA)

    def reach(self, component: str) -> int:
        """Tokens that are free or evictable."""
        evictable = getattr(self.tree, f"{component}_evictable_size")()
        return int(self.built.device_allocator(component).available_size() + evictable)

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
            fields.hold(req, "cache_protected_len", len(req.prefix_indices))
        return self.loads() > before

    def loads(self) -> int:
        return len(self.tree.ongoing_load_back)

    def _lock_for_good(self, req: Any) -> None:
        if self.release.checkpoints:
            req.lock = self.tree.lock(req.last_node)
        else:
            self.release.schedule_policy.PrefillAdder._req_inc_lock_ref(self.batch, req)

    def _prefix_slots(self, req: Any) -> Tensor:
        if fields.has_row(req):  # of a session, which the turn goes on with
            row = self.built.requests.req_to_token[fields.held(req, "req_pool_idx")]
            return row[: fields.prefix_len(self.release, req)].to(torch.int64)  # type: ignore[no-any-return]
        if self.release.checkpoints:
            slots: Tensor = self.tree.prefix_device_indices(req)
            return slots[: req.prefix_len]
        return req.prefix_indices  # type: ignore[no-any-return]
