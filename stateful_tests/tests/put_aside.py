"""Steps of a server with a tracking buffer, made of those of the specification, which has none."""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import EXTRA_BUFFER, FULL, MAMBA, CacheConfig
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.tests.runs import Observed

PLAIN = CacheConfig(components=(FULL, MAMBA), host_full_slots=0)


def tracking(state: Snapshot, chunk: int) -> Snapshot:
    """The same state of a server whose chunks are so long: each request has one tracking slot."""
    config = replace(PLAIN, mamba_strategy=EXTRA_BUFFER, mamba_chunk_size=chunk)
    free = state.pools[MAMBA].free_pages[-1:]
    requests = tuple(replace(r, tracking_slots=free) for r in state.requests)
    return replace(state, config=config, requests=requests)


def chunk_of_a_tracking_server(chunk: int) -> Observed:
    """Four tokens are computed and cached with their state, whatever a chunk is."""
    model = ReferenceModel(PLAIN)
    model.apply(op.Admit("r1", (1, 2, 1, 2, 1)))
    before, last = model.snapshot(), op.Prefill("r1", 4)
    outcome = model.apply(last)
    return tracking(before, chunk), last, outcome, tracking(model.snapshot(), chunk)


def put_aside_wrongly() -> list[Snapshot]:
    """A state of another length, one in a foreign slot, and no slot to put one."""
    state = chunk_of_a_tracking_server(2)[3]
    (request,) = state.requests
    slot = request.tracking_slots[0]
    wrong = [
        replace(request, tracked=2, tracked_slot=slot),
        replace(request, tracked=2, tracked_slot=request.state_slot),
        replace(request, tracked=9, tracked_slot=slot),
        replace(request, row=(*request.row, 9), tracking_slots=()),
    ]
    return [replace(state, requests=(r,)) for r in wrong]
