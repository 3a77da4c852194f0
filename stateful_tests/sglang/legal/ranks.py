"""What the ranks of a server could do together, beside what each could do by itself.

A scheduler runs on every rank and is given the same requests, so every operation goes to all of
them; only copies run at a pace of their own (domain.md 6.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from radixproof.model import operations as op
from radixproof.model.snapshot import Snapshot, Transfer
from radixproof.stateful_tests.sglang.legal import use
from radixproof.stateful_tests.sglang.legal.states import LOADS, unacknowledged_loads
from radixproof.stateful_tests.sglang.reach import Reach


def why_illegal(states: Sequence[Snapshot], operation: op.Operation, reach: Reach) -> str | None:
    """The reason why no server would do this here; ``None``: it is a legal use. ``states``: by
    rank."""
    if isinstance(operation, op.Execute) and operation.rank is not None:
        if not 0 <= operation.rank < len(states):
            return f"there is no rank {operation.rank}"
        return use.why_illegal(states[operation.rank], operation, reach)
    if isinstance(operation, op.Observe) and operation.limit is not None:
        return "what the other ranks have not seen finish they tell themselves"
    if isinstance(operation, op.Observe) and states[0].config.pipeline:
        first, *others = (finished(s, operation.stream) for s in states)
        if min(others) < first:
            return "a later stage waits until its copies have run, too"
    if isinstance(operation, op.StartLoading) and _apart([_unfinished(s) for s in states]):
        return "a batch begins with its loads on all ranks, or waits on all"
    if isinstance(operation, op.LoadBack | op.Admit | op.Proceed) and _apart(
        [unacknowledged_loads(s) for s in states]
    ):
        return "a load-back that one rank has no counter for is not asked for"
    return next(filter(None, (use.why_illegal(s, operation, reach) for s in states)), None)


def made_legal(operation: op.Operation) -> op.Operation:
    """The same operation without the arguments that stand for other ranks."""
    if isinstance(operation, op.Observe):
        return replace(operation, limit=None)
    return operation


def _apart(counts: list[int]) -> bool:
    """Whether one more load goes on some ranks only."""
    return len({count < LOADS for count in counts}) > 1


def _unfinished(state: Snapshot) -> int:
    return len({t.batch for t in state.loads if t.stage == "submitted"})


def finished(state: Snapshot, stream: str) -> int:
    """Submissions at the head of a stream whose copies have run."""
    queue = state.writes if stream == op.WRITE else state.loads
    submitted = [t for t in queue if t.stage != "queued"]
    heads: list[Transfer] = list(takewhile(lambda t: t.stage == "executed", submitted))
    return len({t.batch for t in heads})
