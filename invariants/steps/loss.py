"""Nothing that policy says must still be found is lost (domain.md 7.7, I-38 and I-39)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, WRITE_THROUGH, Step, step_invariant
from radixproof.invariants.steps.compare import (
    aligned,
    host_is_ample,
    is_ok,
    is_refused,
    kept,
    may_lose_host_data,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA
from radixproof.model.options import BACKS_UP_WINDOWS, HIDES_TRACKING, SPLITS_AT_PROMPT
from radixproof.model.snapshot import Node

_NEVER_ASKED = tuple(c for c in op.EVERY_OPERATION.values() if c not in (op.EvictHost, op.Reset))


@step_invariant(
    "I-38",
    *_NEVER_ASKED,
    formula="n.c.host before, no host eviction => n in N after with the same n.c.host",
    without_it="Hierarchical caching exists so that device pressure costs no prefix.",
    taught_by="SGLang 25065 (M-1)",
    holds_under=WITH_HOST,
)
def only_host_eviction_loses_host_data(step: Step) -> Iterator[Fault]:
    """What is on host stays there until a host eviction or a reset takes it."""
    if may_lose_host_data(step):
        return
    for b in range(len(step.before.nodes)):
        for component in step.before.config.components:
            if not kept(step, b, component, "host"):
                yield Fault(f"{step.before.name(b)} lost its {component} host data")


@step_invariant(
    "I-39",
    op.Evict,
    op.LoadBack,
    op.Admit,
    op.Proceed,
    op.Prefill,
    op.Decode,
    formula="n backed up, on device before and not after => n in N, evicted, backed up, and an"
    " H-leaf if childless and unlocked (write-back: unless the host is short; Prefill: where it is"
    " refused)",
    without_it="A deleted leaf is a lost prefix though a copy of it was paid for.",
    taught_by="SGLang 25065 (M-1)",
    holds_under=WITH_HOST,
)
def evicting_a_backed_up_leaf_demotes_it(step: Step) -> Iterator[Fault]:
    """Device eviction of a backed-up node leaves it in the tree, host-only."""
    if step.before.config.writes_back and not host_is_ample(step.before):
        return
    if isinstance(step.operation, op.Prefill) and not is_refused(step):
        return  # its backups may have evicted host data
    for b, old in enumerate(step.before.nodes):
        if old.evicted or not old.backuped:
            continue
        parts = step.fragments[b]
        if not parts:
            yield Fault(f"{step.before.name(b)} was deleted though it is backed up")
            continue
        i = parts[-1]
        new = step.after.nodes[i]
        free = not any(
            p.lock or p.host_lock for p in new.placements
        ) and not step.after.children.get(i)
        listed = i in step.after.host_leaves or HIDES_TRACKING in step.after.options
        if new.evicted and free and not listed:
            yield Fault(f"{step.after.name(i)} was demoted but is no host leaf", (i,))


@step_invariant(
    "I-38",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="all n: n.hit grew in this step to >= threshold => n.FULL.host, unless the host pool"
    " had no"
    " room for the topmost unbacked node of its path, even after host eviction",
    without_it="A silently skipped backup is noticed only when the leaf is deleted at eviction.",
    taught_by="SGLang 25065 (M-1)",
    holds_under=WRITE_THROUGH,
)
def hits_at_the_threshold_are_backed_up(step: Step) -> Iterator[Fault]:
    """A node whose hit count reached the threshold is backed up when the insert returns."""
    after = step.after
    if not step.before.config.writes_through or a_host_failure_struck(step):
        return
    for i, n in enumerate(after.nodes):
        if n.backuped or n.evicted or not _reached_the_threshold(step, i):
            continue
        topmost = [a for a in after.path(i) if not after.nodes[a].backuped][-1]
        if has_room_for(after, topmost):
            threshold = after.config.write_through_threshold
            yield Fault(
                f"{after.name(i)} reached {n.hit or threshold} hits and is not backed up, though"
                f" the host pool has room for {after.name(topmost)}",
                tuple(dict.fromkeys((i, topmost))),
            )


def _reached_the_threshold(step: Step, i: int) -> bool:
    """By hit counts; where they are hidden, only what must have: the end of an insert's key."""
    n, b, o = step.after.nodes[i], step.origin.get(i), step.operation
    threshold = step.after.config.write_through_threshold
    if HIDES_TRACKING not in step.after.options:
        return n.hit >= threshold and (b is None or step.before.nodes[b].hit < n.hit)
    if threshold > 1 or not (isinstance(o, op.Insert) and is_ok(step)) or o.chunked:
        return False
    return (n.namespace, n.tokens) == (o.namespace, aligned(step.after, o.tokens))


def a_host_failure_struck(step: Step) -> bool:
    before, after = step.before.armed_failures, step.after.armed_failures
    return any(after.get(p, 0) < k for p, k in before.items() if p.startswith("host_"))


def has_room_for(view: View, i: int) -> bool:
    node = view.nodes[i]
    length = len(node.key) + _split_off_since(view, i)
    if view.pools["host_full"].free_slots + reclaimable_host(view, FULL) < length:
        return False
    return all(_has_auxiliary_room(view, i, node, c) for c in view.config.auxiliary)


def _split_off_since(view: View, i: int) -> int:
    """Tokens below a node that were one leaf with it when its backup was tried.

    Where FULL is alone some releases split a leaf at the prompt's end after they inserted it.
    """
    below = view.children.get(i, ())
    if SPLITS_AT_PROMPT not in view.options or view.config.auxiliary or len(below) != 1:
        return 0
    lower = view.nodes[below[0]]
    return 0 if lower.backuped or lower.evicted else len(lower.key)


def _has_auxiliary_room(view: View, i: int, node: Node, component: str) -> bool:
    """Room for a node's data of one component, counting what host eviction could reclaim."""
    p = node.placement(component)
    if p is None or p.device is None:
        return True
    need = _swa_to_back_up(view, i) if component == SWA else len(p.device)
    free = view.pools[f"host_{component}"].free_slots
    return free + reclaimable_host(view, component) >= need


def _swa_to_back_up(view: View, i: int) -> int:
    """SWA tokens that a backup of the node has to find room for."""
    tokens = covered = 0
    for at in view.path(i):
        n = view.nodes[at]
        if n.swa is not None and n.swa.device is not None and n.swa.host is None:
            tokens += len(n.key)
        covered += len(n.key)
        if BACKS_UP_WINDOWS not in view.options or covered >= view.config.sliding_window:
            break
    return tokens


def reclaimable_host(view: View, component: str) -> int:
    """Host tokens of one component that repeated host eviction could free."""
    if component == FULL:
        return _deletable(view)
    listed = (
        view.nodes[i].placement(component) for i in view.host_lru.get(component, ()) if i >= 0
    )
    return sum(len(p.host or ()) for p in listed if p is not None and not p.host_lock)


def _deletable(view: View) -> int:
    """FULL host tokens of every node that could become a host leaf and go."""
    found: dict[int, int] = {}
    for i in range(len(view.nodes) - 1, -1, -1):  # children stand after their parents
        n = view.nodes[i]
        if (
            n.evicted
            and n.backuped
            and not any(p.lock or p.host_lock for p in n.placements)
            and all(c in found for c in view.children.get(i, ()))
        ):
            found[i] = len(n.full.host or ())
    return sum(found.values())
