"""The scheduler's own budget: the release's ``PrefillAdder``, executed as it is.

A *round* is one ``get_new_batch_prefill`` of the release's scheduler: the request that comes in
chunks goes on first, then candidates are matched and asked for one after the other, until one is
not added or the verdict is to stop. What was added is the batch. Its rows and slots are taken for
all of it at once, by the release's own allocation functions (``prepare_for_extend``), after its
loads were submitted and before anything is computed; its requests are then computed and cached in
their order. The scheduler is one without overlap, so that a batch is cached before the next round.

A round begins with the first candidate, or with the next chunk, and ends when its batch is
computed, or with nobody in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.lifecycle import Lifecycle
from radixproof.impl.sglang.release import accepted
from radixproof.impl.sglang.running import Admitted, Running
from radixproof.model.errors import ErrorKind, IllegalUse

NEW_TOKEN_RATIO = 0.1
"""Share of the output still to come that running requests are granted: the least that a server
comes down to (init 0.7 times 0.14). The less, the more is admitted."""
MAX_PREFILL_TOKENS = 16384
"""Prompt tokens in one batch (``--max-prefill-tokens``): never the bound with pools this small."""


@dataclass(slots=True)
class Round:
    """One ``PrefillAdder``, and who it added."""

    adder: Any
    batch: list[Running] = field(default_factory=list)
    """Added, in order, and not computed yet."""
    closed: bool = False
    """The verdict on the last candidate was to stop."""
    formed: bool = False
    """Rows and slots are taken."""
    unfinished: Running | None = None
    """Whose prompt goes on after this batch."""


class OutOfMemory(Exception):
    """The release has no slots for what its own budget admitted; its server ends with this."""


class Budget:
    """Rounds of one cache's scheduler."""

    def __init__(self, lifecycle: Lifecycle, requests: Mapping[str, Running]) -> None:
        """``requests``: those that run, shared with the cache."""
        self.lifecycle = lifecycle
        self.built = lifecycle.built
        self.requests = requests
        self.round: Round | None = None
        self.chunked: Running | None = None
        """The request whose prompt is being computed in chunks; there is at most one."""

        self.put_off: Running | None = None
        """It, while its next chunk waits: the scheduler decodes meanwhile."""

    @property
    def in_force(self) -> bool:
        return self.built.config.max_new_tokens > 0

    def granted(self, running: Running) -> int:
        """The length that the batch being made brings a request to; 0: it is not part of one."""
        return fields.extend_end(running.req) if self.round and running in self.round.batch else 0

    # A round

    def _begin(self) -> Round:
        """The round there is, or a new one, in which the next chunk comes first."""
        if self.round is not None:
            return self.round
        adder = self._adder()
        self.round = found = Round(adder)
        if self.chunked is not None:
            req = self.chunked.req
            req.init_next_round_input()
            goes_on = adder.add_chunked_req(req) is not None
            if req in adder.can_run_list:
                found.batch.append(self.chunked)
                self.put_off = None
            else:
                self.put_off = self.chunked
            found.unfinished = self.chunked if goes_on else None
        return found

    def _adder(self) -> Any:
        config, kind = self.built.config, self.built.release.schedule_policy.PrefillAdder
        arguments = {
            "page_size": config.page_size,
            "tree_cache": self.built.tree,
            "token_to_kv_pool_allocator": self.built.allocator,
            "running_batch": SimpleNamespace(reqs=[r.req for r in self._decoding()]),
            "new_token_ratio": NEW_TOKEN_RATIO,
            "rem_input_tokens": MAX_PREFILL_TOKENS,
            "rem_chunk_tokens": config.chunked_prefill_size or None,
        }
        return kind(**accepted(kind.__init__, **arguments))

    def _decoding(self) -> list[Running]:
        return [r for r in self.requests.values() if r.committed >= r.prompt_len]

    def _end(self) -> None:
        assert self.round is not None
        self.chunked, self.round = self.round.unfinished, None

    def admit(self, new: Running) -> Admitted | None:
        """One candidate of a round; ``None``: not added. Nobody is asked after one that was not."""
        found = self._begin()
        if found.closed or found.formed:
            raise IllegalUse(ErrorKind.PROTOCOL, "the batch of this round is computed first")
        admitted = None
        if not self._is_spent(found.adder):
            admitted = self._ask(found, new)
        else:
            found.closed = True
        if not found.batch:
            self.round = None
        return admitted

    def _is_spent(self, adder: Any) -> bool:
        """Newer schedulers look before each candidate whether the round's budget is spent."""
        if not self.built.release.looks_at_budget_first:
            return False
        return bool(adder.budget_state() == self.built.release.schedule_policy.AddReqResult.OTHER)

    def _ask(self, found: Round, new: Running) -> Admitted | None:
        admission, req = self.lifecycle.admission, new.req
        with admission.states.candidate():
            hits, loads = admission.match(req), admission.loads()
            verdict = found.adder.add_one_req(
                req, has_chunked_req=found.unfinished is not None, truncation_align_size=None
            )
            added = req in found.adder.can_run_list
            if not added:
                admission.states.refuse(req)
        found.closed = verdict != self.built.release.schedule_policy.AddReqResult.CONTINUE
        if not added:
            return None
        if found.adder.new_chunked_req is req:
            found.unfinished = new
        found.batch.append(new)
        admission.admitted(new)
        return Admitted(hits, admission.loads() > loads)

    # Its batch

    def computes(self, running: Running, count: int) -> bool:
        """Whether the round computes so many tokens of a request; False: the next chunk waits.

        Raises ``IllegalUse`` for what the budget does not give.
        """
        begun, put_off = self.round is None, self.put_off
        found = self._begin()
        mine = running in found.batch
        due = fields.extend_end(running.req) - running.committed if mine else 0
        if begun and due != count:
            self.round = None
            self.put_off = put_off if mine else self.put_off
        if not mine and running is self.chunked and begun:
            return False
        if not mine:
            raise IllegalUse(ErrorKind.PROTOCOL, "only what the budget admitted is computed")
        if due != count:
            raise IllegalUse(ErrorKind.ARGUMENT, f"the budget gives {due} tokens")
        return True

    @property
    def is_formed(self) -> bool:
        return self.round is not None and self.round.formed

    def form(self) -> None:
        """Rows and slots for the whole batch. Raises ``OutOfMemory``."""
        assert self.round is not None
        batch = self.round.batch
        if self.round.unfinished in batch:
            _count_chunk(self.round.unfinished, 1)
        self.lifecycle.bind(*batch)
        counts = [fields.extend_end(r.req) - len(r.row) for r in batch]
        try:
            slots = self._slots(batch, counts)
        except RuntimeError as problem:
            if "out of memory" not in str(problem).lower():
                raise
            raise OutOfMemory(str(problem).splitlines()[0]) from problem
        for running, own in zip(batch, torch.split(slots, counts), strict=True):
            self.lifecycle.add_slots(running, own)
        self.round.formed = True

    def _slots(self, batch: list[Running], counts: list[int]) -> Tensor:
        """``alloc_for_extend``: one call for all, which evicts first."""
        release, tree = self.built.release, self.built.tree
        if self.built.config.page_size == 1:
            slots: Tensor = release.alloc_token_slots(tree, sum(counts))
            return slots
        before = torch.tensor([len(r.row) for r in batch])
        after = before + torch.tensor(counts)
        last = [r.row[-1] if len(r.row) else torch.tensor(-1) for r in batch]
        paged: Tensor = release.alloc_paged_token_slots_extend(
            tree_cache=tree,
            prefix_lens=before,
            prefix_lens_cpu=before,
            seq_lens=after,
            seq_lens_cpu=after,
            last_loc=torch.stack(last),
            extend_num_tokens=sum(counts),
        )
        return paged

    def computed(self, running: Running) -> None:
        """A request of the batch is computed and cached."""
        assert self.round is not None
        if running is self.round.unfinished:
            _count_chunk(running, -1)
        self.round.batch.remove(running)
        if not self.round.batch:
            self._end()

    def forget(self, running: Running) -> None:
        """A request ended between rounds."""
        if self.chunked is running:
            self.chunked = self.put_off = None


def _count_chunk(running: Running | None, more: int) -> None:
    """Chunks of the request that are on their way and not its last."""
    assert running is not None
    name = "is_chunked" if hasattr(running.req, "is_chunked") else "inflight_middle_chunks"
    setattr(running.req, name, getattr(running.req, name) + more)
