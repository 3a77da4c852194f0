"""What is not used keeps its place in the lists (domain.md 5.1; decision 10)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import aligned, is_ok, key_of, path_to
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA

_NOTHING: frozenset[int] = frozenset()


@step_invariant(
    "S-recency-1",
    op.Match,
    op.Prepare,
    op.Insert,
    formula="nodes off the path that was used: same order in every list; parts of one node stand"
    " together, the lower first",
    without_it="A match of half a node would keep its other half, which nobody asked for, and"
    " eviction would take what is in use instead.",
    taught_by="M-75, SGLang 38482",
)
def what_is_not_used_keeps_its_place(step: Step) -> Iterator[Fault]:
    """A match or an insert makes its own path recent; what a split leaves beside it stays put."""
    if not is_ok(step):
        return
    for component, old in step.before.lru.items():
        new = step.after.lru[component]
        yield from _moved(step, f"{component} list", old, new, _used(step, component))
    for component, old in step.before.host_lru.items():
        new = step.after.host_lru[component]
        yield from _moved(step, f"{component} host list", old, new, _NOTHING)


def _used(step: Step, component: str) -> Collection[int]:
    """Nodes after the step that it may have refreshed in a device list."""
    o, view = step.operation, step.after
    assert isinstance(o, op.Match | op.Prepare | op.Insert)
    if isinstance(o, op.Insert):
        path = path_to(view, o.namespace, aligned(view, o.tokens))
        if component == MAMBA:  # an insert touches a whole node before it splits it (6.2.2)
            whole = {step.origin[i] for i in path if i in step.origin}
            path += [i for b in whole for i in step.fragments[b]]
        return frozenset(path)
    tokens = o.tokens[:-1] if isinstance(o, op.Prepare) else o.tokens
    best = step.outcome.values.get("best_match", 0)
    return frozenset(path_to(view, o.namespace, key_of(view, tokens)[:best]))


def _moved(
    step: Step, name: str, old: tuple[int, ...], new: tuple[int, ...], used: Collection[int]
) -> Iterator[Fault]:
    """Both lists without what was used, what came and what went."""
    origin, listed = step.origin, set(old)
    there = [i for i in new if i not in used and origin.get(i) in listed]
    stayed = {origin[i] for i in there}
    wanted = [b for b in old if b in stayed]
    place = {b: at for at, b in enumerate(wanted)}
    keys = [(place[origin[i]], -step.after.nodes[i].end) for i in there]
    for i, (key, behind) in zip(there, pairwise(keys), strict=False):
        if behind < key:
            yield Fault(f"{step.after.name(i)} moved in the {name}, and was not used", (i,))
            return
