"""Hit counts and priorities: who may change them."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import INSERTING, LANDING, aligned, is_ok
from radixproof.invariants.steps.frames.common import all_but
from radixproof.invariants.steps.track import inserted_tokens
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import SPLITS_AT_PROMPT, STOPS_AT_BRANCHES


@step_invariant(
    "S-frame-1",
    *all_but(*INSERTING),
    formula="not Insert, Prefill, Finish => all n: hit(n), priority(n) as before",
    without_it="Reading or evicting a prefix would decide what is backed up and what is kept.",
    taught_by="M-28",
)
def only_inserts_count_hits_and_raise_priorities(step: Step) -> Iterator[Fault]:
    """Hit counts and priorities change in inserts only."""
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b] if b is not None else None
        if old is None and isinstance(step.operation, LANDING):
            continue
        if old is None or (n.hit, n.priority) != (old.hit, old.priority):
            yield Fault(f"{step.after.name(i)} has hits {n.hit}, priority {n.priority}", (i,))


@step_invariant(
    "S-frame-2",
    *INSERTING,
    formula="n on the key's path => priority(n) = max(before, given); else as before",
    without_it="A priority that leaks to other prefixes protects them from eviction.",
    taught_by="X-16",
    of_turns=False,
)
def an_insert_raises_priorities_on_its_path_only(step: Step) -> Iterator[Fault]:
    """An insert raises the priority of nodes on its path to its own, and of no other node."""
    key = _inserted(step) if is_ok(step) else None
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        old = step.before.nodes[b].priority if b is not None else None
        allowed = {old}
        if key is not None and (n.namespace, n.tokens) == (key.namespace, key.tokens[: n.end]):
            allowed = {key.priority if old is None else max(old, key.priority)}
            if b is not None and not step.fragments[b]:
                allowed.add(key.priority)  # evicted and made anew
            if STOPS_AT_BRANCHES in step.after.options:
                allowed.add(old)
            if SPLITS_AT_PROMPT in step.after.options and not step.after.config.has_swa:
                allowed.add(max(old or key.priority, key.priority) + 1)
        if n.priority not in allowed:
            yield Fault(f"{step.after.name(i)} has priority {n.priority}, had {old}", (i,))


class _Key:
    """What an inserting operation hands to the tree."""

    def __init__(self, namespace: str, tokens: tuple[int, ...], priority: int) -> None:
        self.namespace, self.tokens, self.priority = namespace, tokens, priority


def _inserted(step: Step) -> _Key | None:
    o = step.operation
    if isinstance(o, op.Insert):
        return _Key(o.namespace, aligned(step.before, o.tokens), o.priority)
    if not isinstance(o, op.Prefill | op.Finish):
        return None
    view = step.after if isinstance(o, op.Prefill) else step.before
    r = next((r for r in view.requests if r.name == o.request), None)
    if r is None:
        return None
    end = r.committed
    if view.config.tracks_states:
        old = next((x for x in step.before.requests if x.name == o.request), r)
        end = inserted_tokens(step, old)
    return _Key(r.namespace, aligned(view, r.tokens[:end]), r.priority)
