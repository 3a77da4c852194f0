"""What a tracking buffer hands to the tree, and when (MAMBA; domain.md 6.9, buffer mode)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_MAMBA, Step, step_invariant
from radixproof.invariants.steps.compare import aligned, is_ok, length_present
from radixproof.invariants.steps.mamba import _has_state, _request
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import EXTRA_BUFFER_LAZY, CacheConfig
from radixproof.model.options import STRIPS_THINKING
from radixproof.model.snapshot import Request


def put_aside_by_chunk(config: CacheConfig, r: Request, count: int) -> int:
    """How many tokens the state covers that a chunk of ``count`` puts aside; 0: none.

    The last whole step of the grid from where the chunk began, but the branching point of the
    request's match if that lies before it.
    """
    grid = config.checkpoint_grid
    last = r.committed + count // grid * grid
    if last == r.committed:
        return 0
    branch = r.branching or 0
    if r.committed < branch <= last and not (branch - r.committed) % grid:
        return branch
    return last


def inserted_tokens(step: Step, r: Request) -> int:
    """How many tokens of a request, as it was before, a chunk or its end handed to the tree."""
    o, config = step.operation, step.before.config
    if isinstance(o, op.Prefill):
        return put_aside_by_chunk(config, r, o.count)
    due = _due_at_the_end(step, r)
    there = (n for n in due if n and _has_state(step.after, r.namespace, r.tokens[:n]))
    return max(there, default=0)


@step_invariant(
    "S-track-1",
    op.Prefill,
    op.Finish,
    formula="ok, tracking buffer => a chunk: its last step of the grid, or its branching point, is"
    " the end of a node with a state on device; a request that ends: as far as it had put a state"
    " aside (overlap: or its last token or the one before, if due; lazily: or nothing;"
    " strips-thinking: nothing beyond its prompt)",
    without_it="The next turn finds the KV and cannot use it: the whole prompt is computed again.",
    taught_by="domain.md 6.9",
    holds_under=WITH_MAMBA,
)
def what_was_put_aside_is_cached(step: Step) -> Iterator[Fault]:
    """The state that a request put aside last is in the tree when it is cached."""
    r = _cached_by(step)
    if r is None:
        return
    ends = _due(step, r)
    if not any(not end or _has_state(step.after, r.namespace, r.tokens[:end]) for end in ends):
        yield Fault(f"no node has the state of the {ends[0]} tokens that {r.name} put aside")


def _cached_by(step: Step) -> Request | None:
    """The request with a tracking buffer, as it was before, that a chunk or its end has cached."""
    o = step.operation
    assert isinstance(o, op.Prefill | op.Finish)
    judged = is_ok(step) and step.before.config.tracks_states
    return _request(step.before, o.request) if judged else None


def _due(step: Step, r: Request) -> list[int]:
    """How many tokens the state covers that is handed over: any of these."""
    if isinstance(step.operation, op.Prefill):
        return [put_aside_by_chunk(step.before.config, r, step.operation.count)]
    return _due_at_the_end(step, r)


def _due_at_the_end(step: Step, r: Request) -> list[int]:
    config = step.before.config
    ends = [r.tracked or 0]
    if config.mamba_strategy == EXTRA_BUFFER_LAZY:
        ends.append(0)
    if config.overlap_schedule:
        last = (r.committed - 1, r.committed)
        ends += [end for end in last if end % config.mamba_track_interval == 0]
    if STRIPS_THINKING not in step.after.options:
        return ends
    return [end if end <= r.prompt_len else 0 for end in ends]


@step_invariant(
    "S-track-2",
    op.Prefill,
    op.Finish,
    formula="ok, nothing put aside => the tree has no more of the request's tokens than before",
    without_it="KV without a state is of no use to anybody, and takes room until it is evicted.",
    taught_by="domain.md 6.9",
    holds_under=WITH_MAMBA,
)
def nothing_put_aside_nothing_cached(step: Step) -> Iterator[Fault]:
    """A request that has put no state aside inserts nothing."""
    r = _cached_by(step)
    if r is None:
        return
    due = max(_due(step, r))
    before, after = (_present(view, r) for view in (step.before, step.after))
    if after > max(before, due):
        yield Fault(f"{after} tokens of {r.name} are cached, {due} were put aside")


def _present(view: View, r: Request) -> int:
    return length_present(view, r.namespace, aligned(view, r.tokens))
