"""The records in which a release keeps what its sessions hold, and lends to their turns."""

from __future__ import annotations

from typing import Any

from radixproof.impl.sglang.fields import held
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.release import Release
from radixproof.impl.sglang.running import Running


def records(tree: Any) -> Any:
    """The records that sessions keep, by name."""
    session = getattr(tree, "session", None)
    return {} if session is None else session.slots


def record_index(slot: Any) -> Any:
    """The row of a session's record; ``None``: it holds no KV."""
    if getattr(slot, "kv", slot) is None:
        return None
    return held(slot, "req_pool_idx")


def lent_slot(tree: Any, running: Running) -> Any:
    """The record on which a turn runs, or one that was not accepted; ``None``: on its own."""
    session = running.req.session
    slot = None if session is None else records(tree).get(session.session_id)
    lent = slot is not None and running.req.last_node is slot.virtual_node
    return slot if lent else None


def anchor(built: Built, running: Running) -> Any:
    """The node that the request's lock, or that of its session, is on."""
    slot = lent_slot(built.tree, running)
    return running.req.last_node if slot is None else anchor_of_slot(built.release, slot)


def anchor_of_slot(release: Release, slot: Any) -> Any:
    return slot.lock.node if release.checkpoints else slot.last_node


def receipt_of_slot(release: Release, slot: Any) -> Any:
    """What has to be given back to release a session's lock."""
    if release.checkpoints:
        return slot.lock.receipt
    return getattr(slot, "lock_receipt", slot)
