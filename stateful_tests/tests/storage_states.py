"""A state with a storage tier, made by hand: no cache of ours has one.

One node of four tokens is on device and host and is being written to the store, which holds all its
pages. A request that waits has asked for three tokens more; the first of them has arrived.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.invariants.data import tags_of
from radixproof.invariants.storage import page_hashes
from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Node, Pool, Receipt, Snapshot
from radixproof.model.storage import (
    BACKUP,
    PREFETCH,
    READ,
    Backup,
    Prefetch,
    StorageConfig,
    StorageState,
)

PREFIX = (1, 2, 3, 4)
ASKED = (*PREFIX, 5, 6, 7)
BEFORE = (op.Insert(PREFIX), op.Execute(op.WRITE), op.Observe(op.WRITE))


def plain() -> Snapshot:
    """Without anything in flight to or from the store."""
    model = ReferenceModel(CacheConfig(components=(FULL,), swa_slots=0, host_swa_slots=0))
    for operation in (*BEFORE, op.Prepare("r1", (*ASKED, 8))):
        model.apply(operation)
    state = model.snapshot()
    names = page_hashes("", PREFIX, 1)
    tags = tags_of("", PREFIX)
    storage = StorageState(
        prefetches=(),
        backups=(),
        releasing={},
        occupied=0,
        work={},
        pages={FULL: {name: (tag,) for name, tag in zip(names, tags, strict=True)}},
        hashes=(names,),
        clock=0,
        capacity=20,
        news=0,
    )
    return replace(state, config=replace(state.config, storage=StorageConfig()), storage=storage)


def busy() -> Snapshot:
    """See the module docstring. Every invariant holds."""
    state = plain()
    assert state.storage is not None
    pool = state.pools["host_full"]
    slots, free = pool.free_pages[:3], pool.free_pages[3:]
    contents = list(pool.contents)
    contents[slots[0]] = tags_of("", ASKED)[len(PREFIX)]
    source = state.nodes[0].full.host or ()
    storage = replace(
        state.storage,
        prefetches=(Prefetch("r1", "", ASKED, len(PREFIX), 0, {FULL: slots}, 1, False),),
        backups=(Backup(3, 0, {FULL: source}, state.storage.hashes[0] or ()),),
        occupied=3,
        work={READ: "get"},
    )
    held = [Receipt("host", owner, name, 0, 0, None) for owner, name in _HOLDERS]
    return replace(
        state,
        nodes=(_locked(state.nodes[0], len(held)),),
        receipts=(*state.receipts, *held),
        storage=storage,
        pools={**state.pools, "host_full": replace(pool, free_pages=free, contents=(*contents,))},
    )


_HOLDERS = ((BACKUP, ""), (PREFETCH, "r1"))


def _locked(node: Node, count: int) -> Node:
    return replace(node, full=replace(node.full, host_lock=count))


def with_storage(state: Snapshot, **changes: object) -> Snapshot:
    """The same state with another storage tier."""
    assert state.storage is not None
    return replace(state, storage=replace(state.storage, **changes))  # type: ignore[arg-type]


def with_pool(state: Snapshot, name: str, **changes: object) -> Snapshot:
    pool: Pool = state.pools[name]
    return replace(state, pools={**state.pools, name: replace(pool, **changes)})  # type: ignore[arg-type]


def prefetch_of(state: Snapshot) -> Prefetch:
    assert state.storage is not None
    return state.storage.prefetches[0]
