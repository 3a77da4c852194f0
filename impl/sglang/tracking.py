"""States that a request puts aside in its tracking buffer (MAMBA ``extra_buffer``), by the
release's own code.

Which length is tracked, in which slot of the buffer and when the slots change places is decided by
``ScheduleBatch`` before a forward pass and by ``SchedulerBatchResultProcessor`` after it; both run
here as they are. Stood in for is the forward pass alone. Its contract (``_init_track_ssm_indices``
of the linear attention backend; ``mamba_track_mask`` of a decode batch): a row of an extend that is
tracked leaves in its tracking slot the state after the last whole chunk of the length it was told,
counted from where the extend began, or after the whole extend if that length is a whole number
of chunks; a decode row that is tracked leaves a copy of its state.

With overlapped scheduling a decode step is launched before the result of the one before it is
looked at, and whether the request ends is known only then. So after a decode step that result still
waits here beside the step that is under way. It is looked at when the request goes on, when a batch
without the request is launched (which also brings the result of the step that is under way) and,
as the last one, when the request ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from radixproof.impl.sglang import configuration, fields, payload
from radixproof.impl.sglang.pools import Built
from radixproof.model.config import MAMBA


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """An extend that is tracked: where its state goes, and how many of its tokens it covers."""

    slot: int
    tokens: int | None
    """``None``: all of them."""


class Tracking:
    """Of one cache."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.steps: dict[str, list[Any]] = {}
        """Request -> batches of its decode steps whose results have not been looked at: with
        overlap at most two, of which the last is under way."""
        self.processor = _result_processor(built) if self.on else None

    @property
    def on(self) -> bool:
        return self.built.config.has_mamba and self.built.config.tracks_states

    # What a request holds

    def slots(self, req: Any) -> tuple[int, ...]:
        """Its tracking slots, in the order of the buffer; empty entries are left out."""
        buffer = fields.held(req, "mamba_ping_pong_track_buffer") if self.on else None
        return () if buffer is None else tuple(x for x in buffer.tolist() if x != -1)

    def tracked(self, req: Any) -> tuple[int, int] | None:
        """How many tokens the state covers that was put aside last, and its slot; or none."""
        if not self.on:
            return None
        length = fields.held(req, "mamba_last_track_seqlen")
        buffer = fields.held(req, "mamba_ping_pong_track_buffer")
        if not length or buffer is None:
            return None
        kept = self.built.requests.get_mamba_ping_pong_keep_idx(req)
        return int(length), int(buffer[kept])

    def branching(self, req: Any) -> int | None:
        """Where its match found KV without a state; a chunk that gets there puts one aside."""
        return req.mamba_branching_seqlen if self.on else None

    # Extend

    def plan_extend(self, req: Any) -> Snapshotted | None:
        """Before the forward pass over a chunk: what it is to put aside."""
        entry = self._batch(req)._mamba_radix_cache_v2_req_prepare_for_extend(req)
        if not entry.track_mask:
            return None
        begin = fields.prefix_len(self.built.release, req)
        length, chunk = entry.track_seqlen - begin, self._kernel_chunk
        tokens = length // chunk * chunk if length % chunk else None
        return Snapshotted(self._slot(req, entry), tokens)

    @property
    def _kernel_chunk(self) -> int:
        return self.built.config.mamba_chunk_size

    def _slot(self, req: Any, entry: Any) -> int:
        if hasattr(entry, "track_index"):
            return int(entry.track_index)
        table = self.built.requests.req_index_to_mamba_ping_pong_track_buffer_mapping
        return int(table[fields.held(req, "req_pool_idx"), entry.track_position])

    # Decode

    def launch(self, name: str, req: Any, seq_len: int, forward: Callable[[], None]) -> None:
        """One decode step after ``seq_len`` tokens: the batch is prepared and its forward pass
        runs. Without overlap its result is looked at.
        """
        batch = self._batch(req, seq_len)
        batch.prepare_for_decode()
        committed = fields.held(req, "kv_committed_len")
        assert committed == seq_len + 1, f"a step of {seq_len} tokens commits {committed}"
        forward()
        state = int(fields.held(req, "mamba_pool_idx"))
        if bool(batch.mamba_track_mask[0]):
            pool = self.built.layers[MAMBA]
            copied = torch.tensor([payload.read_one(pool, state)])
            payload.store(pool, batch.mamba_track_indices.to(torch.int64), copied)
        self.steps.setdefault(name, []).append(batch)
        if not self.built.config.overlap_schedule:
            self._settle(name)

    def go_on(self, name: str) -> None:
        """Before another step: the result of the step before the last did not end the request."""
        waiting = self.steps.get(name, [])
        while len(waiting) > 1:
            self._look_at(waiting.pop(0))

    def drain(self, but: str) -> None:
        """A batch without them was launched: results of all steps that were under way."""
        for name in [n for n in self.steps if n != but]:
            self._settle(name)

    def _settle(self, name: str) -> None:
        for batch in self.steps.pop(name, []):
            self._look_at(batch)

    def forget(self, name: str) -> None:
        """A request that was retracted or aborted: the result of the step that is under way is
        passed over.
        """
        for batch in self.steps.pop(name, [])[:-1]:
            self._look_at(batch)

    def finish(self, name: str) -> bool:
        """The release's own end of a request that ends with the oldest result which waits.

        False: none does, and nothing happened.
        """
        waiting = self.steps.pop(name, [])
        if waiting:
            self._look_at(waiting[0])
        return bool(waiting)

    def _look_at(self, batch: Any) -> None:
        """``process_batch_result_decode`` of one row."""
        assert self.processor is not None, "only servers with a buffer decode here"
        result = SimpleNamespace(num_correct_drafts_per_req_cpu=None)
        self.processor._handle_finish_state_updated_req(batch.reqs[0], batch, result, 0, None)

    def _batch(self, req: Any, seq_len: int = 0) -> Any:
        """A ``ScheduleBatch`` of one request, with what its tracking reads."""
        built, index = self.built, fields.held(req, "req_pool_idx")
        kind = built.release.schedule_batch.ScheduleBatch
        batch = kind.__new__(kind)
        batch.reqs = [req]
        batch.req_to_token_pool = built.requests
        batch.token_to_kv_pool_allocator = built.allocator
        batch.tree_cache = built.tree
        batch.device = "cpu"
        batch.enable_overlap = built.config.overlap_schedule
        batch.model_config = SimpleNamespace(
            is_encoder_decoder=False,
            hf_text_config=SimpleNamespace(mamba_chunk_size=built.config.mamba_chunk_size),
        )
        batch.spec_algorithm = SimpleNamespace(is_none=lambda: True, supports_spec_v2=lambda: False)
        batch.sampling_info = SimpleNamespace(
            penalizer_orchestrator=SimpleNamespace(is_required=False)
        )
        batch.hisparse_coordinator = None
        batch.req_pool_indices = batch.req_pool_indices_cpu = torch.tensor([int(index)])
        batch.seq_lens, batch.seq_lens_cpu = torch.tensor([seq_len]), torch.tensor([seq_len])
        batch.orig_seq_lens = torch.tensor([seq_len])
        return batch


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _result_processor(built: Built) -> Any:
    """The release's own, of a scheduler without drafts, offloading and statistics of experts."""
    kind = built.release.result_processor
    collects = ("routed_experts", "indexer_topk", "customized_info")
    quiet = type(kind.__name__, (kind,), {f"_maybe_collect_{what}": _nothing for what in collects})
    fields: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(kind))
    there = {
        "tree_cache": built.tree,
        "req_to_token_pool": built.requests,
        "server_args": configuration.Arguments.current,
        "enable_overlap": built.config.overlap_schedule,
        "model_worker": SimpleNamespace(),
    }
    return quiet(**fields | {name: x for name, x in there.items() if name in fields})
