"""What a match returns and may change (domain.md 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import (
    aligned,
    as_told,
    is_ok,
    key_of,
    path_to,
    receipts_stay,
    tier_of,
    unchanged,
)
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import BRANCHES_BEYOND_STATES, REFRESHES_ONE_STATE


@step_invariant(
    "S-match-1",
    op.Match,
    formula="N after = N before with at most one node split; slots, maps, sizes, queues as before",
    without_it="Looking a key up must be free of consequences for everybody else.",
    taught_by="M-8, M-27",
)
def a_match_changes_only_recency_and_one_split(step: Step) -> Iterator[Fault]:
    """A match splits at most one node and otherwise changes nothing but recency."""
    yield from unchanged(step, "pools", "full_to_swa", "evictable", "protected", "armed_failures")
    yield from receipts_stay(step)
    grown = len(step.after.nodes) - len(step.before.nodes)
    if grown not in (0, 1):
        yield Fault(f"a match changed the number of nodes by {grown}")


@step_invariant(
    "I-9",
    op.Match,
    formula="last_device_node is best_match_node or an ancestor of it",
    without_it="The piece to load back lies between the two; it must not be negative.",
    taught_by="M-25, M-26",
)
def device_hit_is_a_prefix_of_the_best_match(step: Step) -> Iterator[Fault]:
    """The device hit ends at or above the best match."""
    values = step.outcome.values
    if is_ok(step) and values.get("device_hit", 0) > values.get("best_match", 0):
        yield Fault(f"device hit {values['device_hit']} beyond best match {values['best_match']}")


@step_invariant(
    "S-match-2",
    op.Match,
    formula="device_hit = max end(n) on the key's path such that FULL is on device up to n, SWA"
    " in the window before end(n), MAMBA at n; best_match the same on any tier",
    without_it="Too long a hit reads missing data, too short a one computes it again.",
    taught_by="M-25, M-26, M-27",
)
def a_match_finds_the_longest_usable_prefix(step: Step) -> Iterator[Fault]:
    """The hits are the longest prefixes usable from the device, and from both tiers."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Match)
    view = step.after  # data are as before, and the node that the key ends in is split
    key = aligned(view, step.operation.tokens)
    path = path_to(view, step.operation.namespace, key)
    tiers = ("device", "host") if view.config.has_host else ("device",)
    wanted = {
        "device_hit": _usable(view, path, ("device",)),
        "best_match": _usable(view, path, tiers),
    }
    device, best = wanted["device_hit"], wanted["best_match"]
    to_best = [view.nodes[i] for i in path if view.nodes[i].end <= best]
    wanted["host_hit"] = sum(len(n.key) for n in to_best if n.start >= device and n.backuped)
    begin = best - view.config.sliding_window
    wanted["swa_host_hit"] = sum(
        len(n.key)
        for n in to_best
        if n.end > begin and n.swa and n.swa.device is None and n.swa.host is not None
    )
    if view.config.has_mamba:
        state = to_best[-1].mamba if to_best else None
        on_host = state is not None and state.device is None and state.host is not None
        wanted["mamba_host_hit"] = int(on_host)
        wanted["branching"] = _branching(view, path, device, device + wanted["host_hit"])
    for name, length in as_told(view, wanted).items():
        if step.outcome.values.get(name) != length:
            yield Fault(f"{name} is {step.outcome.values.get(name)}, not {length}", tuple(path))


@step_invariant(
    "S-match-3",
    op.Match,
    op.Admit,
    formula="slots handed out = FULL device slots of the path, one per token",
    without_it="The caller puts these into its row and reads them.",
    taught_by="M-27",
)
def handed_out_slots_are_the_paths(step: Step) -> Iterator[Fault]:
    """The slots that a match or an admission hands out are those of the nodes on the path."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Match | op.Admit)
    view, length = step.after, len(step.outcome.slots)
    name = "device_hit" if isinstance(step.operation, op.Match) else "protected"
    if length != step.outcome.values.get(name):
        yield Fault(f"{length} slots for {name} {step.outcome.values.get(name)}")
    # Decode servers until 0.5.21 cut a match down to where its window's slots begin.
    end = None if view.config.decode_server else length
    path = path_to(view, step.operation.namespace, key_of(view, step.operation.tokens)[:end])
    slots = tuple(x for i in path for x in view.nodes[i].full.device or ())[: end or length]
    if slots != step.outcome.slots:
        yield Fault(f"slots {step.outcome.slots} are not those of the path", tuple(path))


@step_invariant(
    "S-match-4",
    op.Match,
    formula="best_match > 0 => access_order starts with path(best_match_node), leaf first",
    without_it="Eviction would take what was used just now.",
    taught_by="SGLang 38482",
)
def a_match_makes_its_path_most_recent(step: Step) -> Iterator[Fault]:
    """The matched path is the most recently accessed, each parent right after its child."""
    best = step.outcome.values.get("best_match", 0)
    if not is_ok(step) or not best:
        return
    assert isinstance(step.operation, op.Match)
    view = step.after
    path = path_to(view, step.operation.namespace, key_of(view, step.operation.tokens)[:best])
    if view.access_order[: len(path)] != tuple(reversed(path)):
        yield Fault("the matched path is not first in access order", tuple(path))


def _branching(view: View, path: list[int], device: int, usable: int) -> int:
    """The last chunk end within the KV that is there but of no use without a state (6.1)."""
    if BRANCHES_BEYOND_STATES in view.options:
        there = [i for i in path if view.nodes[i].full.device or view.nodes[i].full.host]
        seen = view.nodes[there[-1]].end if there else 0
        aligned_end = seen - seen % view.config.checkpoint_grid
        return aligned_end if aligned_end > usable else 0
    seen = view.nodes[path[-1]].end if path else 0
    if view.config.has_host or seen <= device:
        return 0
    return seen - seen % view.config.checkpoint_grid


@step_invariant(
    "S-match-5",
    op.Match,
    formula="best_match > 0 => dlru[SWA] starts with the nodes of W + page tokens from"
    " best_match_node upwards that have SWA; dlru[MAMBA] with the states of its path, deepest"
    " first",
    without_it="Of many prefixes the one just used would lose its window or its state first.",
    taught_by="SGLang 38482",
)
def a_match_makes_its_window_and_states_most_recent(step: Step) -> Iterator[Fault]:
    """What a reader of the best match needs is evicted last."""
    best = step.outcome.values.get("best_match", 0)
    if not is_ok(step) or not best:
        return
    assert isinstance(step.operation, op.Match)
    view = step.after
    path = path_to(view, step.operation.namespace, key_of(view, step.operation.tokens)[:best])[::-1]
    reach = best - view.config.sliding_window - view.config.page_size
    states = path[:1] if REFRESHES_ONE_STATE in view.options else path
    used = {SWA: [i for i in path if view.nodes[i].end > reach], MAMBA: states}
    for component in view.config.auxiliary:
        placed = [(i, view.nodes[i].placement(component)) for i in used[component]]
        wanted = tuple(i for i, p in placed if p is not None and p.device is not None)
        if view.lru[component][: len(wanted)] != wanted:
            yield Fault(f"what was used is not first in the {component} list", wanted)


def _usable(view: View, path: list[int], tiers: tuple[str, ...]) -> int:
    """The longest end at which all data a reader needs is present on the given tiers."""
    window, longest = view.config.sliding_window, 0
    for reach, i in enumerate(path, start=1):
        end = view.nodes[i].end
        above = [view.nodes[j] for j in path[:reach]]
        if any(all(tier_of(n.full, t) is None for t in tiers) for n in above[-1:]):
            continue
        state = view.nodes[i].mamba
        if state is not None and all(tier_of(state, t) is None for t in tiers):
            continue
        needs = [n for n in above if n.end > end - window] if view.config.has_swa else []
        if all(any(tier_of(n.swa, t) is not None for t in tiers) for n in needs):
            longest = end
    return longest
