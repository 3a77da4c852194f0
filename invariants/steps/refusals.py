"""What is refused is refused for want of memory (domain.md 6.8.1, 6.9).

A caller answers a refusal by computing again, or by waiting: where there was room, that is lost
work, and a request that is refused for ever starves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from radixproof.invariants.catalogue import WITH_HOST, Step, step_invariant
from radixproof.invariants.steps.answers import best_match
from radixproof.invariants.steps.compare import (
    aligned,
    host_is_ample,
    is_ok,
    is_refused,
    key_of,
    new_slots,
    path_to,
)
from radixproof.invariants.steps.evict import reachable
from radixproof.invariants.steps.transfer import MAX_UNFINISHED_LOADS
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.options import WAITS_UNLOCKED


@step_invariant(
    "S-refused-1",
    op.Insert,
    op.Prefill,
    op.Decode,
    formula="refused, no armed failure => some pool has fewer slots than the new tokens need: free"
    " ones, and for requests those that eviction can reach (write-back: where the host has room)",
    without_it="A request that fits is put off, and may wait for ever.",
    taught_by="M-70 (SGLang 27391)",
)
def tokens_that_fit_are_not_refused(step: Step) -> Iterator[Fault]:
    """An insert, a chunk or a decoding step for which there is memory gets it."""
    before = step.before
    if not is_refused(step) or before.armed_failures or _lacks_states(before, 1):
        return
    if before.config.max_new_tokens and isinstance(step.operation, op.Prefill):
        return  # a scheduler's budget leaves a margin (S-scheduler-4)
    need = new_slots(step)
    room = _free(before) if isinstance(step.operation, op.Insert) else _obtainable(before)
    if all(room[c] >= need for c in (FULL, SWA) if c in room):
        yield Fault(f"{need} new slots were refused, {_told(room)} could be had")


@step_invariant(
    "S-refused-2",
    op.LoadBack,
    op.Admit,
    op.Proceed,
    formula="no load, none armed to fail, fewer than 3 pending and none on the target's path, no"
    " quota, threshold reached => some pool has fewer slots than the missing data needs: free ones,"
    " and those that eviction can reach off that path (write-back: where the host has room). The"
    " target of who waited is what its own match found, if all of that is still there",
    without_it="A prefix that the host has is computed again.",
    taught_by="M-71, M-72",
    holds_under=WITH_HOST,
    of_turns=False,
)
def a_load_back_that_fits_is_not_refused(step: Step) -> Iterator[Fault]:
    """What a match finds on the host, FULL, windows or a state, is loaded where there is room."""
    after, target = step.after, _not_loaded(step)
    if target is None or step.before.armed_failures or len(after.loads) >= MAX_UNFINISHED_LOADS:
        return
    if any(i in t.nodes for t in after.loads for i in after.path(target)):
        return  # releases leave nodes alone that another load has pinned
    need = _missing(after, target)
    if not any(need.values()) or not (need[SWA] or need[MAMBA] or _is_worth_it(after, need)):
        return
    room = _obtainable(after, frozenset(after.path(target)))
    if all(room[c] >= n for c, n in need.items() if n) and not _lacks_states(after, need[MAMBA]):
        yield Fault(f"{_told(need)} were not loaded, {_told(room)} could be had", (target,))


def _not_loaded(step: Step) -> int | None:
    """The node whose prefix should have been loaded and was not; ``None``: no such thing."""
    o, before = step.operation, step.before
    if getattr(o, "mem_quota", None) is not None:
        return None
    if isinstance(o, op.LoadBack):
        key, namespace = key_of(before, o.tokens), o.namespace
        tried = is_refused(step)
    else:
        asked = _asked(step)
        if asked is None:
            return None
        namespace, tokens, found = asked
        key = aligned(before, tokens[:-1])[:found]
        best = best_match(before, namespace, key)
        if found is not None and best < found:
            return None  # what was found then is not all there any more: nothing is loaded (6.9)
        key = key[:best]
        tried = is_ok(step) and not step.outcome.values.get("loaded")
    path = path_to(step.after, namespace, key) if tried and key else []
    return path[-1] if path and step.after.nodes[path[-1]].end == len(key) else None


def _asked(step: Step) -> tuple[str, tuple[int, ...], int | None] | None:
    """Namespace and tokens of a request that is admitted and wants its prefix loaded.

    And how much an earlier match found, which bounds what is loaded; ``None``: it matches now.
    """
    o, before = step.operation, step.before
    if isinstance(o, op.Admit) and o.load_back:
        return o.namespace, o.tokens, None
    if isinstance(o, op.Proceed) and o.load_back:
        waiting = next((c for c in before.candidates if c.name == o.request), None)
        if waiting is not None:
            matches_now = WAITS_UNLOCKED in before.options
            found = None if matches_now else waiting.best_match
            return waiting.namespace, waiting.tokens, found
    return None


def _missing(view: View, target: int) -> dict[str, int]:
    """Slots per component that make a node's prefix usable: evicted nodes; host-only windows."""
    need = {FULL: 0, SWA: 0, MAMBA: 0}
    end = view.nodes[target].end
    for i in view.path(target):
        n = view.nodes[i]
        need[FULL] += len(n.key) if n.evicted else 0
        in_window = n.end > end - view.config.sliding_window
        if n.swa is not None and in_window and n.swa.device is None:
            need[SWA] += len(n.swa.host or ())
    state = view.nodes[target].mamba
    need[MAMBA] = int(state is not None and state.device is None and state.host is not None)
    return need


def _is_worth_it(view: View, need: Mapping[str, int]) -> bool:
    return 0 < need[FULL] >= view.config.load_back_threshold


def _free(view: View) -> dict[str, int]:
    return {c: view.pools[c].free_slots for c in view.config.components}


def _obtainable(view: View, pinned: frozenset[int] = frozenset()) -> dict[str, int]:
    """Slots that are free or can be evicted, leaving all of ``pinned`` on the device.

    Under write-back an eviction may be refused by the host; unless it has room for everything,
    only free slots count.
    """
    free = _free(view)
    if view.config.writes_back and not host_is_ample(view):
        return free
    can = reachable(view)
    for i in pinned:
        for c in can:
            p = view.nodes[i].placement(c)
            can[c] -= len(p.device or ()) if p is not None and not p.lock else 0
    return {c: free[c] + max(0, can[c]) for c in free}


def _lacks_states(view: View, wanted: int) -> bool:
    """Whether the state pool is too short for ``wanted`` states and one of the request's own."""
    return view.config.has_mamba and view.pools[MAMBA].free_slots < wanted + 1


def _told(slots: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {c}" for c, n in slots.items())
