"""Tracking buffers of requests: how many slots, and what lies in them (MAMBA; domain.md 6.9)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_MAMBA, state_invariant
from radixproof.invariants.data import tags_of
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import EXTRA_BUFFER_LAZY, MAMBA, CacheConfig
from radixproof.model.snapshot import Request


@state_invariant(
    "I-37",
    formula="all requests r with a state put aside: 0 < tracked <= committed, in whole pages;"
    " tracked_slot is one of its tracking slots; payload[tracked_slot] = prefix(r)[:tracked]",
    without_it="The next insert hands the tree this slot for the state of that prefix.",
    taught_by="domain.md 6.9",
    holds_under=WITH_MAMBA,
)
def a_state_put_aside_is_that_of_its_length(view: View) -> Iterator[Fault]:
    """The slot that a request would hand to the tree has the state of the tokens that it says."""
    if not view.config.tracks_states:
        return
    contents, page = view.pools[MAMBA].contents, view.config.page_size
    for r in view.requests:
        if r.tracked is None or r.tracked_slot is None:
            continue
        if not 0 < r.tracked <= r.committed or r.tracked % page:
            yield Fault(f"request {r.name} tracks {r.tracked} of {r.committed} tokens")
        elif r.tracked_slot not in r.tracking_slots:
            yield Fault(f"request {r.name} tracks in slot {r.tracked_slot}, which is not its own")
        elif contents[r.tracked_slot] != tags_of(r.namespace, r.tokens[: r.tracked])[-1]:
            told = f"request {r.name}: slot {r.tracked_slot} has no state of {r.tracked} tokens"
            yield Fault(told, (), ((MAMBA, r.tracked_slot),))


@state_invariant(
    "I-20",
    formula="all requests r with slots of their own: |tracking_slots| = 2 where scheduling"
    " overlaps, else 1; lazily 1, or 2 while a step is under way; other r, which may not have been"
    " in a batch: that or 0",
    without_it="A slot that was handed to the tree and not replaced leaves nowhere to track to.",
    taught_by="domain.md 6.9",
    holds_under=WITH_MAMBA,
)
def running_requests_have_their_tracking_slots(view: View) -> Iterator[Fault]:
    """What a request hands to the tree from its buffer is replaced by a fresh slot."""
    for r in view.requests:
        if len(r.tracking_slots) not in _sizes(view.config, r):
            yield Fault(f"request {r.name} has tracking slots {list(r.tracking_slots)}")


def _sizes(config: CacheConfig, r: Request) -> tuple[int, ...]:
    if not config.tracks_states:
        return (0,)
    if config.mamba_strategy == EXTRA_BUFFER_LAZY:
        some: tuple[int, ...] = (1, 2)
    else:
        some = (2,) if config.overlap_schedule else (1,)
    return some if len(r.row) > r.protected else (0, *some)
