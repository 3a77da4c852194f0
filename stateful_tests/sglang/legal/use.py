"""What a server could do to a release's cache, and what only the vocabulary can say.

A finding that our own misuse caused is our bug, so an operation runs on a release only if its
scheduler could have done the same in that state. Each refusal says why.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.options import SHARES_BLOCKS
from radixproof.model.snapshot import Node, Snapshot
from radixproof.model.units import units
from radixproof.stateful_tests.enabled import is_loadable
from radixproof.stateful_tests.sglang.legal import budget, decode, sessions, states, storage
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach


def why_illegal(state: Snapshot, operation: op.Operation, reach: Reach = DEFAULT) -> str | None:
    """The reason why no server would do this here; ``None``: it is a legal use."""
    return (
        _why_illegal(state, operation, reach)
        or states.why_illegal(state, operation)
        or budget.why_illegal(state, operation)
        or sessions.why_illegal(state, operation)
        or storage.why_illegal(state, operation)
        or decode.why_illegal(state, operation)
    )


def _why_illegal(state: Snapshot, operation: op.Operation, reach: Reach) -> str | None:
    if shares_blocks(state) and getattr(operation, "namespace", None):
        return "the events of this release do not tell namespaces apart"
    match operation:
        case op.Insert() if state.config.disable:
            return "a disabled cache takes no inserts, and the slots would be nobody's"
        case op.FailAllocation():
            return "allocations of a release fail by shortage alone"
        case op.ReleaseWindow() if not reach.early_release:
            return "early release of the window is an opt-in flag"
        case op.Lock():
            node = _node(state, operation.namespace, operation.tokens)
            if node is not None and node.evicted:
                return "a scheduler locks the end of a device prefix"
        case op.HostLock() | op.HostUnlock() if not reach.host_locks:
            return "host locks are the storage tier's"
        case op.HostLock():
            node = _node(state, operation.namespace, operation.tokens)
            if node is None or not node.backuped:
                return "a host lock needs host data"
        case op.LoadBack() | op.Admit() | op.Proceed() if (
            operation.mem_quota is not None and not reach.quotas
        ):
            return "no scheduler passes a quota"
        case op.LoadBack():
            index = _index(state, operation.namespace, operation.tokens)
            if index is None or not is_loadable(state, index):
                return "only what a match finds best is loaded back"
        case op.SlideWindow():
            running = next((r for r in state.requests if r.name == operation.request), None)
            if running is not None and running.committed <= running.prompt_len + 1:
                return "a window slides with the second step of decoding, and before it computes"
        case op.Decode() if operation.ahead and state.config.has_mamba:
            return "a server with states runs here without speculative decoding"
        case op.Insert() if operation.chunked:
            return "only requests are cached in chunks"
        case _:
            pass
    return None


def shares_blocks(state: Snapshot) -> bool:
    """Two namespaces would be one to whoever reads the events: only one can be compared."""
    return state.config.kv_events and SHARES_BLOCKS in state.options


def made_legal(state: Snapshot, operation: op.Operation, reach: Reach) -> op.Operation:
    """The same operation without the arguments that no server gives."""
    operation = _made_legal(operation, reach)
    operation = states.made_legal(state, operation)
    operation = budget.made_legal(state, operation)
    return decode.made_legal(state, operation)


def _made_legal(operation: op.Operation, reach: Reach) -> op.Operation:
    if isinstance(operation, op.LoadBack | op.Admit | op.Proceed) and not reach.quotas:
        return replace(operation, mem_quota=None)
    if isinstance(operation, op.Insert):
        return replace(operation, chunked=False)
    return operation


def _index(state: Snapshot, namespace: str, tokens: tuple[int, ...]) -> int | None:
    key = units(tokens, state.config.bigram)
    spelled = ((i, n) for i, n in enumerate(state.nodes) if n.namespace == namespace)
    return next((i for i, n in spelled if n.tokens == key), None)


def _node(state: Snapshot, namespace: str, tokens: tuple[int, ...]) -> Node | None:
    index = _index(state, namespace, tokens)
    return None if index is None else state.nodes[index]
