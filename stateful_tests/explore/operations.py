"""Every operation of a scope, and which of them a state allows.

What is legal is what the specification does not answer with an error: there is no second rule
here that could disagree with it. This module only says which arguments there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from radixproof.model import operations as op
from radixproof.model.keys import floor_page
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.explore.canonical import known_requests
from radixproof.stateful_tests.explore.scope import EVERYTHING, Scope


def universe(scope: Scope) -> tuple[op.Operation, ...]:
    """All operations of a scope, simplest first; a function of the scope alone."""
    return tuple(dict.fromkeys(o for name in scope.operations for o in _OF[name](scope)))


def within(scope: Scope, state: Snapshot, operation: op.Operation) -> bool:
    """Whether an operation stays within the scope in this state, be it legal or not.

    Names are interchangeable: who comes next takes the first one that is free.
    """
    match operation:
        case op.Admit() | op.Prepare():
            return operation.request == _first_free(requests(scope), known_requests(state))
        case op.Lock() | op.HostLock():
            tier = "device" if isinstance(operation, op.Lock) else "host"
            holding = [r.name for r in state.receipts if r.owner == "client" and r.tier == tier]
            return operation.holder == _first_free(holders(scope), holding)
        case op.Decode():
            length = {r.name: len(r.tokens) for r in state.requests}
            return length.get(operation.request, 0) + len(operation.tokens) <= scope.longest
        case op.FailAllocation():
            return sum(state.armed_failures.values()) < scope.failures
    return True


def requests(scope: Scope) -> tuple[str, ...]:
    return tuple(f"r{i + 1}" for i in range(scope.requests))


def holders(scope: Scope) -> tuple[str, ...]:
    return tuple("abcdefgh"[: scope.holders])


def keys(scope: Scope) -> Iterator[op.Tokens]:
    """All token sequences, shortest first, without the empty one."""
    tokens = range(1, scope.alphabet + 1)
    for length in range(1, scope.longest + 1):
        yield from product(tokens, repeat=length)


def _first_free(names: tuple[str, ...], taken: list[str]) -> str | None:
    return next((name for name in names if name not in taken), None)


def _amounts(scope: Scope, pool: str) -> list[int]:
    """Tokens to evict from a pool."""
    slots = scope.config.pool_slots(pool)
    return [slots if amount == EVERYTHING else min(amount, slots) for amount in scope.amounts]


def _match(scope: Scope) -> Iterator[op.Operation]:
    yield from (op.Match(tokens) for tokens in keys(scope))


def _insert(scope: Scope) -> Iterator[op.Operation]:
    size = scope.config.page_size
    for tokens in keys(scope):
        longest = floor_page(len(tokens), size) if scope.config.has_swa else 0
        evicted = range(0, longest + 1, size)
        for swa_evicted, chunked, priority in product(evicted, scope.chunked, scope.priorities):
            yield op.Insert(tokens, "", swa_evicted, chunked, priority)


def _lock(scope: Scope) -> Iterator[op.Operation]:
    for holder, tokens in product(holders(scope), ((), *keys(scope))):
        yield op.Lock(holder, tokens)


def _unlock(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.Unlock, holders(scope))


def _host_lock(scope: Scope) -> Iterator[op.Operation]:
    for holder, tokens in product(holders(scope), keys(scope)):
        yield op.HostLock(holder, tokens)


def _host_unlock(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.HostUnlock, holders(scope))


def _evict(scope: Scope) -> Iterator[op.Operation]:
    """Of one component or of all in one call."""
    amounts = {c: _amounts(scope, c) for c in scope.config.components}
    for component, counts in amounts.items():
        yield from (op.Evict(**{component: count}) for count in counts)
    for together in product(*amounts.values()):
        yield op.Evict(**dict(zip(amounts, together, strict=True)))


def _evict_host(scope: Scope) -> Iterator[op.Operation]:
    for component in scope.config.components if scope.config.has_host else ():
        for count in _amounts(scope, f"host_{component}"):
            yield op.EvictHost(count, component)


def _load_back(scope: Scope) -> Iterator[op.Operation]:
    for tokens, quota in product(keys(scope), scope.quotas):
        yield op.LoadBack(tokens, "", quota)


def _start_loading(scope: Scope) -> Iterator[op.Operation]:
    yield op.StartLoading()


def _execute(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.Execute, op.STREAMS)


def _observe(scope: Scope) -> Iterator[op.Operation]:
    for stream, limit in product(op.STREAMS, scope.limits):
        yield op.Observe(stream, limit)


def _admit(scope: Scope) -> Iterator[op.Operation]:
    rest = (scope.priorities, scope.load_back, scope.quotas)
    for name, tokens, priority, load, quota in product(requests(scope), keys(scope), *rest):
        yield op.Admit(name, tokens, "", priority, load, quota)


def _prepare(scope: Scope) -> Iterator[op.Operation]:
    for name, tokens, priority in product(requests(scope), keys(scope), scope.priorities):
        yield op.Prepare(name, tokens, "", priority)


def _proceed(scope: Scope) -> Iterator[op.Operation]:
    yield from (
        op.Proceed(*arguments)
        for arguments in product(requests(scope), scope.load_back, scope.quotas)
    )


def _retract(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.Retract, requests(scope))


def _release_window(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.ReleaseWindow, requests(scope))


def _prefill(scope: Scope) -> Iterator[op.Operation]:
    for name, count in product(requests(scope), range(1, scope.longest + 1)):
        yield op.Prefill(name, count)


def _decode(scope: Scope) -> Iterator[op.Operation]:
    """One token again and again: a step of several tokens is a verified draft."""
    tokens = range(1, scope.alphabet + 1)
    for name, count, token in product(requests(scope), range(1, scope.decoded + 1), tokens):
        yield op.Decode(name, (token,) * count)


def _slide_window(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.SlideWindow, requests(scope))


def _finish(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.Finish, requests(scope))


def _abort(scope: Scope) -> Iterator[op.Operation]:
    yield from map(op.Abort, requests(scope))


def _reset(scope: Scope) -> Iterator[op.Operation]:
    yield op.Reset()


def _fail_allocation(scope: Scope) -> Iterator[op.Operation]:
    pools = scope.config.pools if scope.failing is None else scope.failing
    yield from map(op.FailAllocation, pools if scope.failures else ())


_OF = {
    "match": _match,
    "insert": _insert,
    "lock": _lock,
    "unlock": _unlock,
    "host_lock": _host_lock,
    "host_unlock": _host_unlock,
    "evict": _evict,
    "evict_host": _evict_host,
    "load_back": _load_back,
    "start_loading": _start_loading,
    "execute": _execute,
    "observe": _observe,
    "admit": _admit,
    "prepare": _prepare,
    "proceed": _proceed,
    "retract": _retract,
    "release_window": _release_window,
    "prefill": _prefill,
    "decode": _decode,
    "slide_window": _slide_window,
    "finish": _finish,
    "abort": _abort,
    "reset": _reset,
    "fail_allocation": _fail_allocation,
}
