"""How far up the live locks of a release reach, by the marks that it leaves on nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.session_records import (
    anchor,
    anchor_of_slot,
    lent_slot,
    receipt_of_slot,
)
from radixproof.impl.sglang.tree import Tree
from radixproof.model.config import FULL, SWA
from radixproof.model.snapshot import ROOT, Receipt
from radixproof.model.storage import BACKUP, PREFETCH


def receipts(cache: SglangCache, tree: Tree) -> Iterator[Receipt]:
    """Who holds which node, and from which token on."""
    for name, held in cache.clients.locks.items():
        yield _device(cache, tree, "client", name, held.node, held.receipt)
    for name, held in cache.clients.host_locks.items():
        yield _host(cache, tree, "client", name, held.node, held.receipt)
    release = cache.release
    for name, running in cache.requests.items():
        slot = lent_slot(cache.tree, running)
        if slot is None:
            if not fields.holds_lock(release, running.req):
                continue  # its session was taken away under it
            receipt = fields.receipt(release, running.req)
        else:
            receipt = receipt_of_slot(release, slot)
        whole = _device(cache, tree, "request", name, anchor(cache.built, running), receipt)
        if slot is not None:
            yield whole
            continue
        released = fields.released_window(release, running.req)
        yield replace(whole, swa_start=None) if released else whole
    for name in cache.sessions.open:
        if cache.sessions.holds(name):
            slot = cache.sessions.slot(name)
            node, receipt = anchor_of_slot(release, slot), receipt_of_slot(release, slot)
            yield _device(cache, tree, "session", name, node, receipt)
    yield from _of_storage(cache, tree)
    if cache.built.controller is None:
        return
    for entry in cache.tree.ongoing_write_through.values():
        if entry[1] is not None:
            yield _device(cache, tree, "write", "", entry[0], entry[1])
    for entry in cache.tree.ongoing_load_back.values():
        yield _device(cache, tree, "load", "", entry[0], entry[1])
        if len(entry) > 2:
            yield _host(cache, tree, "load", "", entry[0], entry[2])


def _of_storage(cache: SglangCache, tree: Tree) -> Iterator[Receipt]:
    """Host locks on the anchors of prefetches, and on what is being written to the store."""
    if cache.storage is None:
        return
    for who, entry in cache.tree.ongoing_prefetch.items():
        name = cache.storage.asked[who].request
        yield _host(cache, tree, PREFETCH, name, entry[0], entry[4])
    for node, receipt in cache.tree.ongoing_backup.values():
        yield _host(cache, tree, BACKUP, "", node, receipt)


def _device(
    cache: SglangCache, tree: Tree, owner: str, name: str, node: Any, receipt: Any
) -> Receipt:
    """FULL reaches the root; SWA the node that bears the receipt's mark, or the root."""
    anchor = tree.of(node)
    swa = None
    if cache.config.has_swa and anchor != ROOT:
        mark = _mark(cache, receipt, SWA, host=False)
        swa = tree.marked(anchor, SWA, mark, host=False)
    full = None if anchor == ROOT else 0
    return Receipt("device", owner, name, anchor, full, swa, _state(cache, node, anchor, receipt))


def _host(
    cache: SglangCache, tree: Tree, owner: str, name: str, node: Any, receipt: Any
) -> Receipt:
    anchor = tree.of(node)
    full = swa = None
    if anchor >= 0:
        full = _host_full(cache, tree, anchor, receipt)
        if cache.config.has_swa:
            swa = tree.marked(anchor, SWA, _mark(cache, receipt, SWA, host=True), host=True)
    state = _state(cache, node, anchor, receipt)
    return Receipt("host", owner, name, anchor, full, swa, state)


def _state(cache: SglangCache, node: Any, anchor: int, receipt: Any) -> bool:
    """MAMBA counts on the anchor; releases until 0.5.19 skip one without data, and remember it."""
    if not cache.config.has_mamba or anchor == ROOT:
        return False
    kind = cache.release.ComponentType.MAMBA
    if kind in getattr(receipt, "skipped_lock_components", ()):
        return False
    skipped = getattr(receipt, "skip_lock_node_ids", None) or {}
    return getattr(node, "id", node) not in skipped.get(kind, ())


def _host_full(cache: SglangCache, tree: Tree, anchor: int, receipt: Any) -> int | None:
    """FULL is counted where there was host data to count: a receipt with marks has one then."""
    mark = _mark(cache, receipt, FULL, host=True)
    if mark is not None:
        return tree.marked(anchor, FULL, mark, host=True)
    return None


def _mark(cache: SglangCache, receipt: Any, component: str, *, host: bool) -> Any:
    """The number that the receipt shares with the topmost node it counts; ``None``: none."""
    uuids = "component_host_lock_uuids" if host else "component_lock_uuids"
    if hasattr(receipt, uuids):
        kind = getattr(cache.release.ComponentType, component.upper())
        return getattr(receipt, uuids).get(kind)
    if component != SWA:
        return None
    return getattr(receipt, "swa_uuid_for_host_lock" if host else "swa_uuid_for_lock", None)
