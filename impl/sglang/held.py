"""What a release says that its sessions hold, beside what they do.

Its leak check adds ``session_held`` tokens to those that are free, evictable, protected or a
request's own; a number that is off ends the server, or hides a leak. Until 0.5.21 the cache counts
them and is told which rows requests run on; since then the scheduler's observer counts every
record, lent or not.
"""

from __future__ import annotations

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.memory import Memory
from radixproof.impl.sglang.session_records import lent_slot
from radixproof.model.config import FULL, SWA


def complaint(cache: SglangCache, memory: Memory) -> str | None:
    """Where the two differ, in a line."""
    wanted, told = _owned(cache, memory), _told(cache)
    for component, count in told.items():
        if count != wanted[component]:
            return f"its sessions hold {wanted[component]} {component} tokens, it says {count}"
    return None


def _owned(cache: SglangCache, memory: Memory) -> dict[str, int]:
    """Component -> slots in whole pages that sessions own, and that their turns run on."""
    built, sessions = cache.built, cache.sessions
    between = [sessions.slot(name) for name in sessions.open if sessions.holds(name)]
    records = [
        (memory.row_of(slot), fields.protected(slot), fields.swa_evicted(built, slot))
        for slot in between
    ]
    if _counts_records(cache):
        records += [
            (memory.row(r), fields.protected(r.req), fields.swa_evicted(built, r.req))
            for r in cache.requests.values()
            if lent_slot(cache.tree, r) is not None
        ]
    return {
        FULL: sum(len(row) - protected for row, protected, _ in records),
        SWA: sum(len(row) - max(protected, slid) for row, protected, slid in records),
    }


def _told(cache: SglangCache) -> dict[str, int]:
    tree, page, has_swa = cache.tree, cache.config.page_size, cache.config.has_swa
    if _counts_records(cache):
        stats = cache.release.pool_stats
        records = [kv for kv in tree.session_records().values() if kv.holds_kv]
        told = {FULL: sum(stats.kv_private_tokens(kv, page) for kv in records)}
        if has_swa:
            told[SWA] = sum(stats.kv_private_swa_tokens(kv, page) for kv in records)
        return told
    running = {fields.held(r.req, "req_pool_idx") for r in cache.requests.values()}
    told = {FULL: tree.session_held_full_tokens(running)}
    if has_swa:
        told[SWA] = tree.session_held_swa_tokens(running)
    return told


def _counts_records(cache: SglangCache) -> bool:
    return hasattr(cache.tree, "session_records")
