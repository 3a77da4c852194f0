"""What a server with recurrent states could do (MAMBA), beside the rules of legal.py.

Of the strategy without a tracking buffer: pages of one token, and no overlap of the forward pass
with scheduling, which the release asserts where it starts (``validate_mamba_no_buffer`` in newer
ones).
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.snapshot import Request, Snapshot

SLOTS_PER_REQUEST = 3
"""State slots that a server has for each request that it runs: the request's own, the one that its
prefix's lock holds, and the one that the next chunk is handed over in. The release sizes the pool
so (``MAMBA_CACHE_SIZE_MAX_RUNNING_REQUESTS_RATIO``) and asserts that a slot is there."""

IN_A_BATCH = (op.Admit, op.Prepare, op.Proceed, op.Match, op.StartLoading, op.Execute)
"""What may happen while candidates are admitted: more of them, and what runs by itself."""
LOADS = 3
"""Unacknowledged load submissions that a release has counters for; it polls before it admits."""


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why no server with states would do this here; ``None``: it is legal."""
    if not state.config.has_mamba:
        return None
    if isinstance(operation, op.Admit | op.Proceed):
        told = _not_admitted(state, operation)
        if told:
            return told
    most = state.config.mamba_slots // SLOTS_PER_REQUEST
    if isinstance(operation, op.Admit | op.Proceed | op.Lock | op.LoadBack) and (
        _holders(state) >= most
    ):
        return "a server runs one request for every three state slots"
    if isinstance(operation, op.Insert) and operation.swa_evicted > _frontier(state, operation):
        return "a state is handed over with the window that leads up to it"
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


def _not_admitted(state: Snapshot, operation: op.Admit | op.Proceed) -> str | None:
    """What an admission of a server never does. Its budget is in the subject."""
    if not operation.load_back:
        return "what is on host only is always loaded back"
    if len({t.batch for t in state.loads if t.stage != "queued"}) >= LOADS:
        return "a scheduler polls its loads before it admits"
    return None


def made_legal(state: Snapshot, operation: op.Operation) -> op.Operation:
    """The same operation without the arguments that no such server gives."""
    if state.config.has_mamba and isinstance(operation, op.Admit | op.Proceed):
        return replace(operation, load_back=True)
    if state.config.has_mamba and isinstance(operation, op.Insert):
        return replace(
            operation, swa_evicted=min(operation.swa_evicted, _frontier(state, operation))
        )
    return operation


def _frontier(state: Snapshot, insert: op.Insert) -> int:
    """How far a request that ends with these tokens can have slid its window."""
    return max(0, len(insert.tokens) - state.config.sliding_window)


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
