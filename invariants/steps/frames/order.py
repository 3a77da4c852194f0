"""Orders: recency changes with use alone, and creation never."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import LANDING
from radixproof.invariants.steps.frames.common import all_but, ids
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import WAITS_UNLOCKED
from radixproof.model.storage_operations import BeginPrefetch

_TOUCHING = (op.Match, op.Insert, op.Admit, op.Prepare, op.Prefill, op.Finish, op.Retract, op.Turn)
_TOUCHING_TOO = (BeginPrefetch, *LANDING)


@step_invariant(
    "S-frame-9",
    *all_but(*_TOUCHING, *_TOUCHING_TOO),
    formula="n, m before and after => same order in access order and in the device lists",
    without_it="Pressure and copies would keep alive what nobody asks for.",
    taught_by="SGLang 38482",
)
def only_use_refreshes_recency(step: Step) -> Iterator[Fault]:
    """Only matching, inserting and landing make a node more recent; all others keep the order."""
    before, after = step.before, step.after
    matches = WAITS_UNLOCKED in after.options and isinstance(
        step.operation, op.LoadBack | op.Proceed
    )
    if matches and isinstance(step.operation, op.Proceed):
        return
    lists = [("access order", before.access_order, after.access_order)]
    if not matches:
        lists += [(f"{c} list", order, after.lru.get(c, ())) for c, order in before.lru.items()]
    for name, old, new in lists:
        left = ids(before, old)
        right = ids(after, new)
        if [x for x in left if x in set(right)] != [x for x in right if x in set(left)]:
            yield Fault(f"the {name} changed")


@step_invariant(
    "S-frame-10",
    *all_but(),
    formula="n, m before and after => same order of creation",
    without_it="First-in-first-out eviction would depend on what was split or reloaded since.",
    taught_by="X-16",
)
def creation_order_never_changes(step: Step) -> Iterator[Fault]:
    """Which of two nodes is older never changes."""
    old, new = _by_creation(step.before), _by_creation(step.after)
    both = [x for x in old if x in new]
    before = sorted(both, key=lambda x: old[x])
    for x, y in pairwise(before):
        if (old[x] < old[y]) != (new[x] < new[y]) or new[x] > new[y]:
            yield Fault(f"nodes {x} and {y} changed their order of creation")


def _by_creation(view: View) -> dict[int, int]:
    return {n.id: rank for n, rank in zip(view.nodes, view.creation_rank, strict=False)}
