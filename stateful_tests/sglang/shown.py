"""The part of a state that every core shows, so that a Python and a Rust core can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from radixproof.model.config import FULL
from radixproof.model.snapshot import Node, Placement, Receipt, Snapshot, disagreements


def shown(state: Snapshot) -> Snapshot:
    """A state without what HIDES_TRACKING and HIDES_LOCKS name (model/options.py)."""
    auxiliary = [c for c in state.config.components if c != FULL]
    nothing: dict[str, tuple[int, ...]] = dict.fromkeys(auxiliary, ())
    return replace(
        state,
        nodes=tuple(map(_node, state.nodes)),
        receipts=tuple(sorted(map(_receipt, state.receipts), key=_order)),
        device_leaves=(),
        host_leaves=(),
        access_order=(),
        creation_rank=(),
        lru=nothing,
        host_lru=nothing,
        options=frozenset(),
    )


def differences(left: Snapshot, right: Snapshot) -> Iterator[str]:
    """One line for each node or field that both show and in which they differ, slots renamed."""
    a, b = shown(left), shown(right)
    if a == b:
        return
    yield from (told for told in disagreements(a, b) if not told.startswith("nodes: "))
    pairs = zip_longest(a.canonical()["nodes"], b.canonical()["nodes"])
    yield from (f"nodes: {x} / {y}" for x, y in pairs if x != y)


def _node(node: Node) -> Node:
    return replace(
        node,
        label=(),
        hit=0,
        priority=0,
        pending=None,
        full=replace(node.full, host_lock=0),
        swa=_auxiliary(node.swa),
        mamba=_auxiliary(node.mamba),
    )


def _auxiliary(placement: Placement | None) -> Placement | None:
    """Of its locks, whether there is one on device data; of states, what receipts say."""
    if placement is None:
        return None
    locked = placement.device is not None and placement.lock > 0
    return replace(placement, lock=int(locked), host_lock=0)


def _receipt(receipt: Receipt) -> Receipt:
    full = receipt.full_start if receipt.tier == "device" else None
    return replace(receipt, full_start=full, swa_start=None)


def _order(receipt: Receipt) -> tuple[str, str, str, int]:
    return (receipt.tier, receipt.owner, receipt.name, receipt.anchor)
