"""What a server does whose own budget decides about admissions (``max_new_tokens``), beside the
rules of use.py.

Its scheduler works in rounds: candidates are admitted, then all of them are computed, and nothing
else happens in between but copies. At most one request is in the middle of its prompt.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.snapshot import Request, Snapshot
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.sglang.legal.states import LOADS, unacknowledged_loads

_BETWEEN_CHUNKS = (
    *(op.Admit, op.Proceed, op.Prefill, op.Prepare, op.Match, op.Finish, op.Abort),
    *(op.Execute, op.Observe, op.StartLoading, op.Unlock),
)
"""A scheduler prefills before it decodes: nothing takes memory but what its budget admits."""
_IN_A_ROUND = (op.Admit, op.Proceed, op.Execute, op.Prefill)


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why no such server would do this here; ``None``: it is legal."""
    if not state.config.max_new_tokens:
        return None
    if isinstance(operation, op.Admit | op.Proceed):
        if not operation.load_back:
            return "what is on host only is always loaded back"
        if unacknowledged_loads(state) >= LOADS:
            return "a scheduler polls its loads before it admits"
    running = _running(state, operation)
    if isinstance(operation, op.Retract) and running and running.committed < running.prompt_len:
        return "only what decodes is retracted"
    batch = granted(state)
    if not batch and is_between_chunks(state) and not isinstance(operation, _BETWEEN_CHUNKS):
        return "the next chunk of a prompt comes first, unless it is put off"
    if not batch:
        return None
    if not isinstance(operation, _IN_A_ROUND):
        return "once it has admitted, a scheduler goes on to the forward pass"
    if isinstance(operation, op.Prefill) and operation.request not in batch:
        return "only what the budget admitted is computed"
    return None


def made_legal(state: Snapshot, operation: op.Operation) -> op.Operation:
    """The same operation without the arguments that no such server gives."""
    config = state.config
    if not config.max_new_tokens:
        return operation
    if isinstance(operation, op.Admit | op.Proceed):
        return replace(operation, load_back=True)
    if isinstance(operation, op.Decode):
        return replace(operation, tokens=operation.tokens[: config.max_new_tokens])
    running = _running(state, operation)
    if isinstance(operation, op.Prefill) and running is not None:
        if running.granted:
            return op.Prefill(running.name, running.granted - running.committed)
        return replace(operation, count=min(operation.count, config.chunked_prefill_size or 1))
    return operation


def with_budget(choose: Chooser, config: CacheConfig) -> CacheConfig:
    """The same server with a scheduler's budget, and pools in which some requests fit."""
    page = config.page_size
    chunk = choose.pick((0, 2, 4, 1)) * page
    pages = -(-config.sliding_window // page) + (chunk or 4 * page) // page
    swa = max(config.swa_slots // page, pages + choose.integer(1, 4))
    full = max(config.full_slots // page, swa, choose.pick((8, 12, 16)))
    return replace(
        config,
        max_new_tokens=choose.pick((2, 1, 4, 8)),
        chunked_prefill_size=chunk,
        full_slots=full * page,
        swa_slots=swa * page if config.has_swa else 0,
        disable=False,
    )


def granted(state: Snapshot) -> set[str]:
    """Requests of the batch that is being made, or computed."""
    return {r.name for r in state.requests if r.granted}


def is_between_chunks(state: Snapshot) -> bool:
    """Whether a prompt is computed in part, and its next chunk is due."""
    if not state.config.max_new_tokens:
        return False
    return any(
        r.committed < r.prompt_len and not r.granted and not r.put_off for r in state.requests
    )


def computes_them(state: Snapshot) -> list[op.Operation]:
    """The forward pass of the batch."""
    return [op.Prefill(r.name, r.granted - r.committed) for r in state.requests if r.granted]


def _running(state: Snapshot, operation: op.Operation) -> Request | None:
    name = getattr(operation, "request", None)
    return next((r for r in state.requests if r.name == name), None)
