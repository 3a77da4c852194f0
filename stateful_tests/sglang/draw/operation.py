"""Operations for a release: those of the machine, made legal for a server."""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.units import raw_tokens
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.enabled import Situation, draw_operation
from radixproof.stateful_tests.sglang.draw import sessions, storage
from radixproof.stateful_tests.sglang.legal import budget, ranks, states
from radixproof.stateful_tests.sglang.legal.use import made_legal, why_illegal
from radixproof.stateful_tests.sglang.ranked import RankedRun
from radixproof.stateful_tests.sglang.reach import Reach

TRIES = 20
_REVIVALS = 5
"""Percent of the operations that give SWA back to a part of a node: by itself it comes seldom."""
_STORAGE_SHARE = 75
"""Percent of the operations that are the storage tier's, where there is one."""
_BATCH = {"admit": 4, "prefill": 9, "abort": 3, "execute": 3}
"""Weights while a batch is being made: what is legal then (legal/states.py)."""
_ROUND = {"admit": 6, "proceed": 6, "prefill": 8, "execute": 1}
"""Weights in a round of the scheduler's budget (legal/budget.py)."""
_CHUNKS = {**_ROUND, "prefill": 10, "execute": 3, "observe": 3, "finish": 1, "abort": 1}
"""Weights between two chunks of a prompt."""


def draw_legal(s: Situation, choose: Chooser, reach: Reach) -> op.Operation:
    """An operation that a server could do now. ``Match`` always is."""
    if states.unsettled(s.state):
        s = replace(s, weights=_BATCH)
    if budget.granted(s.state):
        s = replace(s, weights=_ROUND)
    elif budget.is_between_chunks(s.state):
        s = replace(s, weights=_CHUNKS)
    if s.state.storage is not None and choose.chance(_STORAGE_SHARE):
        found = storage.draw(s, choose)
        if found is not None and why_illegal(s.state, found, reach) is None:
            return found
    for _ in range(TRIES):
        operation = made_legal(s.state, _draw(s, choose), reach)
        if why_illegal(s.state, operation, reach) is None:
            return operation
    return op.Match((1,) * s.state.config.page_size)


def _draw(s: Situation, choose: Chooser) -> op.Operation:
    if s.state.config.sessions and choose.chance(sessions.OF_A_SESSION):
        drawn = sessions.draw(s, choose)
        if drawn is not None:
            return drawn
    if choose.chance(_REVIVALS):
        return _revival(s, choose) or draw_operation(s, choose)
    return draw_operation(s, choose)


def _revival(s: Situation, choose: Chooser) -> op.Insert | None:
    """Part of a node that lacks SWA is computed again: it is split, and the upper part gets SWA."""
    page = s.state.config.page_size
    lacking = [
        n
        for n in s.state.nodes
        if s.state.config.has_swa
        and n.full.device is not None
        and (n.swa is None or n.swa.device is None)
        and len(n.key) > page
    ]
    if not lacking:
        return None
    node = choose.pick(lacking)
    end = node.end - page * choose.integer(1, len(node.key) // page - 1)
    return op.Insert(raw_tokens(node.tokens[:end]), node.namespace)


def draw_together(s: Situation, choose: Chooser, run: RankedRun, slow: int | None) -> op.Operation:
    """An operation that all ranks could do now; a copy runs on one of them, seldom on ``slow``."""
    for _ in range(TRIES):
        rank = choose.integer(0, len(run.states) - 1)
        operation = draw_legal(replace(s, state=run.states[rank]), choose, run.reach)
        operation = ranks.made_legal(operation)
        if isinstance(operation, op.Execute):
            if rank == slow and not choose.chance(15):
                continue
            operation = replace(operation, rank=rank)
        if run.why_illegal(operation) is None:
            return operation
    return op.Match((1,) * run.config.page_size)
