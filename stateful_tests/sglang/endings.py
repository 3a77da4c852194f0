"""The end of a walk: everything is given back and evicted, so that leaks show."""

from __future__ import annotations

from collections.abc import Sequence

from radixproof.model import operations as op
from radixproof.model.snapshot import Snapshot, Transfer
from radixproof.stateful_tests.sglang.legal import budget, storage
from radixproof.stateful_tests.sglang.ranked import RankedRun
from radixproof.stateful_tests.sglang.solo import Solo
from radixproof.stateful_tests.verdict import Counterexample

Run = Solo | RankedRun


def wind_down(run: Run) -> Counterexample | None:
    """End every request and lock, let every copy finish, evict everything: leaks show."""
    for operation in _endings(run):
        found = run.step(operation)
        if found is not None:
            return found
    while storage.is_busy(run.state):
        for step in storage.endings(run.state):
            found = run.step(step)
            if found is not None:
                return found
    config = run.state.config
    last: list[op.Operation] = [op.Evict(config.full_slots, config.swa_slots, config.mamba_slots)]
    if config.has_host:
        last += [op.EvictHost(config.pool_slots(f"host_{c}"), c) for c in config.components]
    for operation in last:
        found = run.step(operation)
        if found is not None:
            return found
    return None


def _endings(run: Run) -> list[op.Operation]:
    state = run.state
    ends = budget.computes_them(state)
    if state.config.has_mamba:  # a request that a load brings a state to cannot end before it has
        ends += _loads_run(run.states)
    away = {name for s in state.sessions for name in s.rejected}
    for r in state.requests:
        computed = r.name in away and r.committed > 0
        ends.append(op.Finish(r.name) if computed else op.Abort(r.name))
    ends += [op.Abort(c.name) for c in state.candidates]
    ends += [op.CloseSession(s.name) for s in state.sessions]
    for receipt in state.receipts:
        if receipt.owner == "client":
            kind = op.Unlock if receipt.tier == "device" else op.HostUnlock
            ends.append(kind(receipt.name))
    queued = any(t.stage == "queued" for t in state.writes)
    ends += [op.Execute(op.WRITE)] * (max(_submitted(s.writes) for s in run.states) + queued)
    ends += [op.Observe(op.WRITE)] if state.writes else []
    ends += [] if state.config.has_mamba else _loads_run(run.states)
    ends += [op.Observe(op.LOAD)] if state.loads else []
    return ends


def _loads_run(states: Sequence[Snapshot]) -> list[op.Operation]:
    """Submit what is queued and run all copies of loads."""
    queued = any(t.stage == "queued" for t in states[0].loads)
    start: list[op.Operation] = [op.StartLoading()] if queued else []
    waiting = max(_submitted(s.loads) for s in states)
    return [*start, *[op.Execute(op.LOAD)] * (waiting + queued)]


def _submitted(queue: Sequence[Transfer]) -> int:
    """Submissions that have not run."""
    return len({t.batch for t in queue if t.stage == "submitted"})
