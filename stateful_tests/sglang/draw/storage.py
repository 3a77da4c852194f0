"""Operations of a storage tier, and those that make it matter, drawn from what the state allows.

A prefetch brings something only if a prefix was stored, has left device and host, and is asked for
again. So requests come back to prefixes that were once in the tree, and now and then both tiers are
emptied.
"""

from __future__ import annotations

from collections.abc import Mapping

from radixproof.invariants.storage import page_hashes
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA
from radixproof.model.options import DIES_WITH_ITS_STORE, SHARES_STORED_PAGES
from radixproof.model.snapshot import Snapshot
from radixproof.model.storage import TIMEOUT, WRITE_PAGES
from radixproof.model.storage_operations import (
    BeginPrefetch,
    CheckPrefetch,
    Elapse,
    LosePages,
    PollStorage,
    StorageWork,
)
from radixproof.model.units import raw_tokens, units
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.enabled import REQUESTS, Situation
from radixproof.stateful_tests.sglang.legal.storage import CALLS, prefetching

MOST = 24
"""Prefixes that a walk remembers."""


LONGER = 2
"""Walks are so many times longer: a prefix has to go a long way before it comes back."""


def patient(weights: Mapping[str, int]) -> dict[str, int]:
    """Few requests are given up, for a prefetch takes its time; and the cache is seldom flushed."""
    rare = {"abort": 0, "reset": 0, "retract": 1}
    return {name: min(weight, rare.get(name, weight)) for name, weight in weights.items()}


def shares_pages(state: Snapshot) -> bool:
    """Two namespaces would find each other's pages, which is known and would hide all else."""
    return state.storage is not None and SHARES_STORED_PAGES in state.options


def remember(s: Situation) -> None:
    """Note the prefixes that are in the tree; the longest way down to each leaf is enough."""
    inner = {n.parent for n in s.state.nodes}
    for i, node in enumerate(s.state.nodes):
        prefix = (node.namespace, raw_tokens(node.tokens))
        if i not in inner and prefix not in s.remembered:
            s.remembered.append(prefix)
    del s.remembered[:-MOST]


def draw(s: Situation, choose: Chooser) -> op.Operation | None:
    """``None``: there is nothing that would change anything."""
    if choose.chance(55):
        return _towards_a_hit(s, choose)
    if choose.chance(25):
        return _scheduler(s.state, choose)
    return _environment(s.state, choose)


def _towards_a_hit(s: Situation, choose: Chooser) -> op.Operation | None:
    """The next step on the way to a prefetch that finds something."""
    state, storage = s.state, s.state.storage
    assert storage is not None
    if storage.prefetches:
        going = sorted(w for w in storage.work if w != WRITE_PAGES)
        return StorageWork(choose.pick(going)) if going else PollStorage()
    waiting = [c for c in state.candidates if c.name not in prefetching(state)]
    missing = [c.name for c in waiting if _only_stored(state, c.namespace, c.tokens[:-1])]
    if missing:
        return BeginPrefetch(choose.pick(missing))
    stored = [p for p in s.remembered if _stored(state, *p)]
    away = [p for p in stored if _only_stored(state, *p)]
    if away:
        return _ask_for(s, *choose.pick(away), choose)
    if stored:
        return _empty_the_tiers(state, choose)
    if WRITE_PAGES in storage.work:
        return StorageWork(WRITE_PAGES)
    if state.config.writes_back:
        return op.Evict(state.config.full_slots)
    if any(t.stage == "executed" for t in state.writes):
        return op.Observe(op.WRITE)
    return op.Execute(op.WRITE) if state.writes else None


def _stored(state: Snapshot, namespace: str, tokens: tuple[int, ...]) -> int:
    """Leading units that the store has FULL pages for; of no namespace, whose hashes are known."""
    assert state.storage is not None
    size, pages = state.config.page_size, state.storage.pages.get(FULL, {})
    key = units(tokens, state.config.bigram)
    names = () if namespace else page_hashes("", key[: len(key) // size * size], size)
    absent = (i for i, name in enumerate(names) if name not in pages)
    return next(absent, len(names)) * size


def _only_stored(state: Snapshot, namespace: str, tokens: tuple[int, ...]) -> bool:
    """Whether the store has more of a prefix than device and host together."""
    key = units(tokens, state.config.bigram)
    ends = (
        n.end
        for n in state.nodes
        if n.namespace == namespace and n.tokens == key[: n.end] and (n.backuped or not n.evicted)
    )
    return _stored(state, namespace, tokens) > max(ends, default=0)


def _ask_for(
    s: Situation, namespace: str, tokens: tuple[int, ...], choose: Chooser
) -> op.Operation | None:
    """A request for a prefix and a little more."""
    known = {r.name for r in s.state.requests} | {c.name for c in s.state.candidates}
    free = [name for name in REQUESTS if name not in known]
    if not free:
        return op.Abort(choose.pick(sorted(known)))
    more = tuple(choose.integer(1, s.alphabet) for _ in range(choose.pick((1, 1, 2, 3))))
    return op.Prepare(free[0], (*tokens, *more), namespace)


def _empty_the_tiers(state: Snapshot, choose: Chooser) -> op.Operation | None:
    """Evict all there is, or end what is in the way of that."""
    config = state.config
    component = SWA if config.has_swa and choose.chance(15) else FULL
    if all(n.evicted for n in state.nodes):
        return op.EvictHost(config.pool_slots(f"host_{component}"), component)
    if state.requests:
        return op.Abort(choose.pick(state.requests).name)
    held = [r for r in state.receipts if r.owner == "client" and r.tier == "device"]
    if held:
        return op.Unlock(held[0].name)
    if state.writes:
        done = any(t.stage == "executed" for t in state.writes)
        return op.Observe(op.WRITE) if done else op.Execute(op.WRITE)
    if any(t.stage == "executed" for t in state.loads):
        return op.Observe(op.LOAD)
    return op.Evict(config.full_slots, config.swa_slots if config.has_swa else 0)


def _scheduler(state: Snapshot, choose: Chooser) -> op.Operation | None:
    """Prefetches begin, and are looked at; what workers did is polled; somebody gives up."""
    storage = state.storage
    assert storage is not None
    known = [r.name for r in state.requests] + [c.name for c in state.candidates]
    if choose.chance(4) and known:
        return op.Abort(choose.pick(known))
    if choose.chance(1):
        return op.Reset()
    idle = [c.name for c in state.candidates if c.name not in prefetching(state)]
    if idle and choose.chance(20):
        return BeginPrefetch(choose.pick(idle))
    if storage.prefetches and choose.chance(30):
        return CheckPrefetch(choose.pick(storage.prefetches).request)
    return PollStorage() if storage.news or choose.chance(10) else None


def _environment(state: Snapshot, choose: Chooser) -> op.Operation | None:
    storage, config = state.storage, state.config.storage
    assert storage is not None
    assert config is not None
    if choose.chance(3) and storage.pages:
        return LosePages(choose.integer(1, 3))
    if config.prefetch_policy == TIMEOUT and storage.prefetches and choose.chance(8):
        return Elapse(choose.integer(1, 2))
    if not storage.work:
        return PollStorage() if storage.news else None
    worker = choose.pick(sorted(storage.work))
    if storage.work[worker] not in CALLS or not choose.chance(10):
        return StorageWork(worker)
    if choose.chance(25) and DIES_WITH_ITS_STORE not in state.options:
        return StorageWork(worker, raises=True)
    return StorageWork(worker, pages=choose.integer(0, 1))
