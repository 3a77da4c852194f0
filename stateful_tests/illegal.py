"""Calls that must be refused: each breaks exactly one precondition of ``operations.py``."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.units import raw_tokens
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.enabled import Situation, held, is_loadable, may_release

NOBODY = "nobody"
"""A holder and request that never is."""
NOWHERE = (9, 9, 9, 9)
"""Tokens outside every alphabet."""


def draw_illegal(s: Situation, choose: Chooser) -> op.Operation:
    """An operation that the specification answers with an error in this state."""
    return choose.pick(illegal_calls(s))


def illegal_calls(s: Situation) -> list[op.Operation]:
    """One call per precondition that can be broken here."""
    state, config = s.state, s.state.config
    size = config.page_size
    calls: list[op.Operation] = [
        op.Insert(()),
        op.Insert((1,) * size, swa_evicted=2 * size),
        op.Insert((1,) * size, swa_evicted=-size),
        op.Lock(NOBODY, NOWHERE),
        op.Unlock(NOBODY),
        op.HostLock(NOBODY, NOWHERE),
        op.HostUnlock(NOBODY),
        op.Evict(-1),
        op.EvictHost(-1),
        op.EvictHost(1, "conv"),
        op.LoadBack(()),
        op.LoadBack(NOWHERE),
        op.Execute("side"),
        op.Observe("side"),
        op.Observe(op.WRITE, -1),
        op.Admit("r1", ()),
        op.Prepare("r1", ()),
        op.Proceed(NOBODY),
        op.Retract(NOBODY),
        op.ReleaseWindow(NOBODY),
        op.Prefill(NOBODY, 1),
        op.Decode(NOBODY, (1,)),
        op.SlideWindow(NOBODY),
        op.Finish(NOBODY),
        op.Abort(NOBODY),
        op.FailAllocation("conv"),
    ]
    if config.bigram:
        calls += [op.Lock(NOBODY, (1,)), op.Insert((1,) * size, swa_evicted=size)]
    if size > 1:
        calls.append(op.Insert((1,) * (2 * size), swa_evicted=1))
    if not config.has_swa:
        calls += [op.Evict(0, 1), op.Insert((1,) * size, swa_evicted=size)]
        calls += [op.SlideWindow(r.name) for r in state.requests]
    if not config.has_mamba:
        calls += [op.Evict(0, 0, 1), op.FailAllocation("mamba")]
    if not config.has_host:
        calls += [op.EvictHost(1)]
    calls += [
        op.HostLock(NOBODY, raw_tokens(n.tokens), n.namespace)
        for n in state.nodes
        if not n.backuped
    ][:1]
    calls += [
        op.LoadBack(raw_tokens(n.tokens), n.namespace)
        for i, n in enumerate(state.nodes)
        if not is_loadable(state, i)
    ][:2]
    for stream, queue in ((op.WRITE, state.writes), (op.LOAD, state.loads)):
        if not any(t.stage == "submitted" for t in queue):
            calls.append(op.Execute(stream))
    calls += [op.Lock(holder, ()) for holder in held(state, "device")]
    for c in state.candidates:
        calls += [op.Admit(c.name, (1,)), op.Prepare(c.name, (1,)), op.Prefill(c.name, 1)]
        calls += [op.Proceed(c.name, mem_quota=-1), op.Retract(c.name)]
    calls += [op.ReleaseWindow(r.name) for r in state.requests if not may_release(state, r)] * 3
    for r in state.requests:
        left = r.prompt_len - r.committed
        calls += [op.Admit(r.name, (1,)), op.Prefill(r.name, 0), op.Prefill(r.name, left + 1)]
        if left:
            calls += [op.Decode(r.name, (1,)), op.Finish(r.name)]
        else:
            calls += [op.Decode(r.name, ()), op.Decode(r.name, (1,), -1)]
    if state.requests or state.receipts or state.writes or state.loads:
        calls += [op.Reset()] * 3
    return calls
