"""What receipts cover: derived once per view and shared by the lock invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from radixproof.invariants.view import View
from radixproof.model.config import COMPONENTS
from radixproof.model.snapshot import Receipt

Counts = Mapping[tuple[str, str], Counter[int]]


def covered(view: View, receipt: Receipt, start: int | None) -> list[int]:
    """The nodes on the anchor's path that lie wholly at or after ``start``."""
    if start is None:
        return []
    nodes = view.nodes
    found = []
    for i in view.path(receipt.anchor):
        if nodes[i].start < start:
            break
        found.append(i)
    return found


def lock_sums(view: View) -> Counts:
    """(component, tier) -> node -> number of live receipts whose segment contains the node."""
    sums = {(c, t): Counter[int]() for c in COMPONENTS for t in ("device", "host")}
    for receipt in view.receipts:
        if (receipt.full_start, receipt.tier) == (0, "device"):
            sums["full", "device"].update(view.path(receipt.anchor))
        else:
            sums["full", receipt.tier].update(covered(view, receipt, receipt.full_start))
        sums["swa", receipt.tier].update(covered(view, receipt, receipt.swa_start))
        if receipt.state:
            sums["mamba", receipt.tier][receipt.anchor] += 1
    return sums
