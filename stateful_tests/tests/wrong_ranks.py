"""A worker whose rank 1 is wrong in one way, which the environment names.

Each way is a patch of an unmodified release in the process of that rank alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from radixproof.impl.sglang.ranks.rendezvous import Ask, Serve
from radixproof.impl.sglang.ranks.subject import RankedRelease
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.sglang.worker import Worker, main

WRONG = "RADIXPROOF_WRONG_RANK"


def stays_away(cache: Any) -> None:
    """Polls only if a backup is pending, as releases until 0.5.12 do."""
    poll = cache.check_hicache_events

    def check_hicache_events(self: Any) -> None:
        if self.ongoing_write_through:
            poll(self)

    cache.check_hicache_events = check_hicache_events


def ignores_the_minimum(cache: Any) -> None:
    """Enters the collective, and goes by what it has seen itself."""
    reduce = cache._all_reduce_attn_groups

    def _all_reduce_attn_groups(self: Any, tensor: torch.Tensor, op: Any) -> None:
        reduce(self, tensor.clone(), op)

    cache._all_reduce_attn_groups = _all_reduce_attn_groups


def takes_the_maximum(cache: Any) -> None:
    """Asks for another reduction than the other rank."""
    reduce = cache._all_reduce_attn_groups

    def _all_reduce_attn_groups(self: Any, tensor: torch.Tensor, op: Any) -> None:
        reduce(self, tensor, torch.distributed.ReduceOp.MAX)

    cache._all_reduce_attn_groups = _all_reduce_attn_groups


def evicts_more(cache: Any) -> None:
    """Evicts until one token more is free."""
    evict = cache.evict

    def one_more(self: Any, params: Any) -> Any:
        return evict(self, type(params)(num_tokens=params.num_tokens + 1))

    cache.evict = one_more


def hears_nothing(cache: Any) -> None:
    """A stage that does not receive what the first one tells."""
    cache._pp_sync = lambda self, data: None


WAYS: Mapping[str, Callable[[Any], None]] = {
    way.__name__: way
    for way in (stays_away, ignores_the_minimum, takes_the_maximum, evicts_more, hears_nothing)
}


class WrongRelease(RankedRelease):
    """Rank 1 is patched."""

    def _make(self, count: int, rank: int, ask: Ask) -> Serve:
        if rank == 1:
            WAYS[os.environ[WRONG]](self.release.UnifiedRadixCache)
        return super()._make(count, rank, ask)


class WrongWorker(Worker):
    ranked_release = WrongRelease


class WrongProcess(ReleaseProcess):
    MODULE = "radixproof.stateful_tests.tests.wrong_ranks"


__all__ = ["WAYS", "WRONG", "WrongProcess"]

if __name__ == "__main__":
    main(WrongWorker)
