"""A decode server of prefill-decode disaggregation, by the release's own ``DecodePreallocQueue``.

A prompt is computed elsewhere. The server matches it against its own tree and locks what it has
(``_match_prefix_and_lock``), takes slots for the rest (``_pre_alloc``: with pages above 1 SWA for
the tail alone), and is sent the KV: FULL of all that it did not have, SWA of the last window
(``send_metadata``'s ``state_indices``). What arrived is cached like a finished prefill
(``get_new_prebuilt_batch``, ``process_prebuilt``), and the request decodes. A transfer that fails
ends the request as an abort does (``pop_transferred``).

The server's estimate of memory (``pop_preallocated``) is not executed; a prompt comes only where
the pools have room for all of it, whatever the tree has.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch

from radixproof.impl.sglang import configuration, fields, payload
from radixproof.impl.sglang.lifecycle import Lifecycle
from radixproof.impl.sglang.running import Admitted, Hits, Running
from radixproof.model.config import FULL, SWA
from radixproof.model.payload import kv_tags


class DecodeServer:
    """Requests of one cache between their arrival and their first decoding step."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.built = lifecycle.built

    @property
    def in_force(self) -> bool:
        return self.built.config.decode_server

    @cached_property
    def queue(self) -> Any:
        """The release's queue with the parts that its allocation reads."""
        built = self.built
        queue = object.__new__(built.release.decode().DecodePreallocQueue)
        queue.scheduler = SimpleNamespace(
            server_args=configuration.Arguments.current,
            sliding_window_size=built.config.sliding_window if built.config.has_swa else None,
            enable_hisparse=False,
            enable_decode_hicache=False,
            tp_worker=SimpleNamespace(is_hybrid_swa=built.config.has_swa),
        )
        queue.tree_cache = built.tree
        queue.req_to_token_pool = built.requests
        queue.token_to_kv_pool_allocator = built.allocator
        queue.token_to_kv_pool = built.allocator.get_kvcache()
        return queue

    def preallocate(self, new: Running) -> Admitted | None:
        """Match, lock, slots for the whole prompt; ``None``: there is no room."""
        if not self._fits(len(new.tokens)):
            return None
        req, queue = new.req, self.queue
        match = queue._match_prefix_and_lock(req)
        prefix = self._usable(new, int(match.l1_prefix_len))
        queue._pre_alloc(req, match.prefix_indices[:prefix], prefix, prefix)
        fields.hold(req, "cache_protected_len", prefix)
        self._begin_row(new, prefix)
        return Admitted(Hits(prefix, 0, 0, 0), loaded=False)

    def _begin_row(self, new: Running, prefix_len: int) -> None:
        """It has a row already, of which the KV of a prefix is there; something always arrives."""
        index = fields.held(new.req, "req_pool_idx")
        row = self.built.requests.req_to_token[index, : len(new.tokens)]
        new.row, new.committed = row.to(torch.int64), min(prefix_len, len(new.tokens) - 1)

    def _usable(self, new: Running, found: int) -> int:
        """What ``pop_preallocated`` does with a match before it allocates.

        The window arrives anew: releases from 0.5.19 on give back the SWA part of the lock, and
        until 0.5.21 they cut the prefix down to where the window's slots begin.
        """
        req, queue, tree = new.req, self.queue, self.built.tree
        if not queue._uses_swa_tail_prealloc() or not found:
            return found
        usable = found
        if "swa_prefix_cap" in self._source:
            usable = min(found, len(new.tokens) - queue._swa_tail_len(len(new.tokens)))
        if "release_swa(" in self._source:
            tree.release_swa(req.lock)
        elif "dec_swa_lock_only(" in self._source:
            receipt = fields.receipt(self.built.release, req)
            mark = req.swa_uuid_for_lock if receipt is req else receipt
            tree.dec_swa_lock_only(req.last_node, mark)
            req.swa_prefix_lock_released = True
        return usable

    def _fits(self, tokens: int) -> bool:
        """FULL also by evicting what the prompt itself may be about to lock; SWA free."""
        built, page = self.built, self.built.config.page_size
        need = -(-tokens // page) * page
        evictable = built.tree.full_evictable_size()
        free = built.device_allocator(FULL).available_size()
        if max(free, free + evictable - need) < need:
            return False
        return not built.config.has_swa or built.device_allocator(SWA).available_size() >= need

    def arrive(self, running: Running) -> None:
        """The transfer is done and committed: KV lies in its slots, one token is sampled."""
        config, end = self.built.config, len(running.tokens)
        begin = fields.protected(running.req)
        tags = torch.tensor(kv_tags(running.namespace, running.tokens, end, bigram=False))
        payload.store(self.built.layers[FULL], running.row[begin:end], tags[begin:])
        if config.has_swa:
            sent = max(begin if self._sends_after_prefix() else 0, end - config.sliding_window)
            window = sent // config.page_size * config.page_size
            slots = self.built.allocator.full_to_swa_index_mapping[running.row[window:end]]
            there = slots > 0
            payload.store(self.built.layers[SWA], slots[there], tags[window:][there])
        self.lifecycle.committed(running, end)
        running.req.init_next_round_input(None)
        self.lifecycle.cache_unfinished(running)

    def _sends_after_prefix(self) -> bool:
        """Newer releases send of the window only what lies behind the prefix that is there."""
        return "max(total_prefix_len, seq_len - window_size)" in self._source

    @cached_property
    def _source(self) -> str:
        """The text of the release's module, to ask for what its unexecuted parts do."""
        return inspect.getsource(self.built.release.decode())
