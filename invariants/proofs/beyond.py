"""Steps of releases that no transition of the theory has, by the named option that allows them.

A release may legally do what the specification does not (model/options.py). A step in which such a
difference shows, and which no sequence of proved transitions explains, is *not linked*: neither
held nor refused, and counted under the option's name. Each entry reads off the two snapshots
whether its difference shows, whatever the link complained of, so that nothing else hides behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from radixproof.invariants.catalogue import Step
from radixproof.invariants.coverage import lock_sums
from radixproof.invariants.view import View
from radixproof.model.config import FULL
from radixproof.model.options import (
    ANCHORED_HOST_LOCKS,
    BACKS_UP_WINDOWS,
    SKIP_SET_LOCKS,
    UNPINNED_LOADS,
)
from radixproof.model.snapshot import Node, Placement

LOCK_RELATIONS = frozenset({"lock", "edge", "takes", "stale"})
"""What a lock that skips nodes without data changes, and nothing else."""


def unlinked(step: Step, complaints: frozenset[str]) -> tuple[str, ...]:
    """Options whose difference shows in a step. ``complaints``: the relations, or the conjuncts of
    a guard, that the link found at fault."""
    return tuple(
        option
        for option, shows in SHOWS.items()
        if option in step.after.options and shows(step, complaints)
    )


def _copies_windows(step: Step, _: frozenset[str]) -> bool:
    """SWA alone was copied to host; under write-back, more than what was evicted, too."""
    writes_back = step.after.config.writes_back
    for i, b in step.origin.items():
        old, new = step.before.nodes[b], step.after.nodes[i]
        came = _came(old.full, new.full)
        if _came(old.swa, new.swa) and not came:
            return True
        if writes_back and ((came and new.full.device is not None) or _gave_up(old, new)):
            return True
    began = {t.id for t in step.after.loads} - {t.id for t in step.before.loads}
    return writes_back and any(
        t.id in began and t.node >= 0 and step.after.nodes[t.node].full.host is None
        for t in step.after.loads
    )


def _came(old: Placement | None, new: Placement | None) -> bool:
    """To host."""
    return old is not None and new is not None and old.host is None and new.host is not None


def _gave_up(old: Node, new: Node) -> bool:
    """The host copy of data that was on device, too; a later eviction may have copied it again."""
    return any(
        p.device is not None
        and p.host is not None
        and (q.host is None or not set(q.host) <= set(p.host))
        for p, q in zip(old.placements, new.placements, strict=True)
    )


def _loads_without_a_pin(step: Step, _: frozenset[str]) -> bool:
    """A load-back began, and holds its target on device alone."""
    known = {t.id for t in step.before.loads}
    return any(t.id not in known for t in step.after.loads)


def _splits_a_host_lock(step: Step, _: frozenset[str]) -> bool:
    """A node was split whose FULL host lock stays on its lower part."""
    return any(
        len(parts) > 1 and step.before.nodes[b].full.host_lock
        for b, parts in step.fragments.items()
    )


def _skips_nodes(step: Step, complaints: frozenset[str]) -> bool:
    """A count differs from the receipts that cover the node, and the complaint is of locks."""
    if not complaints or not complaints <= LOCK_RELATIONS:
        return False
    return any(_counts_skip(view) for view in (step.before, step.after))


def _counts_skip(view: View) -> bool:
    sums = lock_sums(view)
    for i, n in enumerate(view.nodes):
        for component in view.config.components:
            p = n.placement(component)
            lock, host_lock = (p.lock, p.host_lock) if p is not None else (0, 0)
            if lock != sums[component, "device"][i]:
                return True
            if component != FULL and host_lock != sums[component, "host"][i]:
                return True
    return False


SHOWS: Mapping[str, Callable[[Step, frozenset[str]], bool]] = {
    BACKS_UP_WINDOWS: _copies_windows,
    UNPINNED_LOADS: _loads_without_a_pin,
    ANCHORED_HOST_LOCKS: _splits_a_host_lock,
    SKIP_SET_LOCKS: _skips_nodes,
}
