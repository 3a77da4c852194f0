"""What a server with recurrent states could do (MAMBA), beside the rules of use.py.

Without a tracking buffer a server has pages of one token and does not overlap the forward pass with
scheduling, with one it may (``validate_mamba_no_buffer`` and ``validate_mamba_extra_buffer`` of
newer releases, asserted where they start); ``CacheConfig`` says so.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import EXTRA_BUFFER_LAZY, MAMBA, CacheConfig
from radixproof.model.snapshot import Request, Snapshot

SLOTS_PER_REQUEST = 3
"""State slots that a server has for each request that it runs: the request's own, the one that its
prefix's lock holds, and the one that the next chunk is handed over in. The release sizes the pool
so (``MAMBA_CACHE_SIZE_MAX_RUNNING_REQUESTS_RATIO``) and asserts that a slot is there."""


def slots_per_request(config: CacheConfig) -> int:
    """Tracking slots come on top: two where scheduling overlaps, but lazily one
    (``MAMBA_CACHE_V2_ADDITIONAL_RATIO_*``, later ``get_mamba_tracking_slots``).
    """
    if not config.tracks_states:
        return SLOTS_PER_REQUEST
    eager = config.overlap_schedule and config.mamba_strategy != EXTRA_BUFFER_LAZY
    return SLOTS_PER_REQUEST + (2 if eager else 1)


IN_A_BATCH = (op.Admit, op.Prepare, op.Proceed, op.Match, op.StartLoading, op.Execute)
"""What may happen while candidates are admitted: more of them, and what runs by itself."""
LOADS = 3
"""Unacknowledged load submissions that a release has counters for; it polls before it admits."""


def unacknowledged_loads(state: Snapshot) -> int:
    """Submissions of loads that no poll has taken off yet."""
    return len({t.batch for t in state.loads if t.stage != "queued"})


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why no server with states would do this here; ``None``: it is legal."""
    if not state.config.has_mamba:
        return None
    if isinstance(operation, op.Admit | op.Proceed):
        told = _not_admitted(state, operation)
        if told:
            return told
    ratio = slots_per_request(state.config)
    if isinstance(operation, op.Admit | op.Proceed | op.Lock | op.LoadBack) and (
        _holders(state) >= state.config.mamba_slots // ratio
    ):
        return f"a server runs one request for every {ratio} state slots"
    if isinstance(operation, op.Insert) and operation.swa_evicted > _frontier(state, operation):
        return "a state is handed over with the window that leads up to it"
    if state.config.tracks_states:
        told = _not_tracked(state, operation)
        if told:
            return told
    if isinstance(operation, op.Prepare) and not state.pools[MAMBA].free_slots:
        return "a look that would evict a state is seen as an admission"
    batch = unsettled(state)
    if not batch or isinstance(operation, IN_A_BATCH):
        return None
    if isinstance(operation, op.Prefill) and operation.request in batch:
        return None
    if isinstance(operation, op.Abort) and operation.request in batch:
        if any(_awaits_load(state, r) for r in state.requests if r.name == operation.request):
            return "a candidate whose load-back was accepted is admitted"
        return None
    return "once it has admitted, a scheduler goes on to the forward pass"


def _not_tracked(state: Snapshot, operation: op.Operation) -> str | None:
    """What a server with a tracking buffer never does."""
    config = state.config
    if isinstance(operation, op.Insert) and len(operation.tokens) % config.checkpoint_grid:
        return "a request hands over what it has put a state aside for"
    if isinstance(operation, op.Prefill):
        r = _request(state, operation.request)
        if r is not None and _cut(config, r, operation.count) != operation.count:
            return "a prompt is cut at whole pages"
    return None


def _request(state: Snapshot, name: str) -> Request | None:
    return next((r for r in state.requests if r.name == name), None)


def _cut(config: CacheConfig, r: Request, count: int) -> int:
    """The chunk that ``PrefillAdder`` makes of so many tokens: whole pages, or all that is left."""
    end = r.committed + count
    if end < r.prompt_len:
        end -= end % config.page_size
    return (end if end > r.committed else r.prompt_len) - r.committed


def _not_admitted(state: Snapshot, operation: op.Admit | op.Proceed) -> str | None:
    """What an admission of a server never does. Its budget is in the subject."""
    if not operation.load_back:
        return "what is on host only is always loaded back"
    if unacknowledged_loads(state) >= LOADS:
        return "a scheduler polls its loads before it admits"
    return None


def made_legal(state: Snapshot, operation: op.Operation) -> op.Operation:
    """The same operation without the arguments that no such server gives."""
    if state.config.has_mamba and isinstance(operation, op.Admit | op.Proceed):
        return replace(operation, load_back=True)
    if state.config.tracks_states and isinstance(operation, op.Insert):
        grid = state.config.checkpoint_grid
        whole = max(grid, len(operation.tokens) // grid * grid)
        tokens = (*operation.tokens, *[1] * grid)[:whole]
        operation = replace(operation, tokens=tokens)
    if state.config.tracks_states and isinstance(operation, op.Prefill):
        r = _request(state, operation.request)
        if r is not None:
            return replace(operation, count=_cut(state.config, r, operation.count))
    if state.config.has_mamba and isinstance(operation, op.Insert):
        return replace(
            operation, swa_evicted=min(operation.swa_evicted, _frontier(state, operation))
        )
    return operation


def _frontier(state: Snapshot, insert: op.Insert) -> int:
    """How far a request that ends with these tokens can have slid its window."""
    slid = max(0, len(insert.tokens) - state.config.sliding_window)
    return slid - slid % state.config.page_size


def _holders(state: Snapshot) -> int:
    """Who keeps a state from being evicted: requests, and locks and loads of clients."""
    anchors = [r.owner for r in state.receipts if r.tier == "device"]
    return len(state.requests) + anchors.count("client") + anchors.count("load")


def unsettled(state: Snapshot) -> set[str]:
    """Requests that were admitted and have not been computed: their state is yet to be made."""
    return {r.name for r in state.requests if _is_unsettled(state, r)}


def _is_unsettled(state: Snapshot, request: Request) -> bool:
    if request.state_source is not None or request.zero_state:
        return True
    return _awaits_load(state, request)


def _awaits_load(state: Snapshot, request: Request) -> bool:
    waiting = [m for t in state.loads if t.stage != "executed" for m in t.moves]
    return any(m.component == MAMBA and request.state_slot in m.device for m in waiting)
