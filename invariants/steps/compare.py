"""Comparisons that many step invariants share."""

from __future__ import annotations

from collections.abc import Container, Iterator

from radixproof.invariants.catalogue import Step
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import EXTRA_BUFFER_LAZY, FULL, MAMBA
from radixproof.model.options import (
    BACKS_UP_WHAT_IS_REGAINED,
    BACKS_UP_WINDOWS,
    BINDS_BY_BATCH,
    HIDES_LOCKS,
    ONE_HOST_HIT,
)
from radixproof.model.outcome import Status
from radixproof.model.snapshot import Placement, Request, Slots
from radixproof.model.storage import BACKUP
from radixproof.model.storage_operations import BeginPrefetch, CheckPrefetch, PollStorage
from radixproof.model.units import units

INSERTING = (op.Insert, op.Prefill, op.Finish)
LOADING = (op.LoadBack, op.Admit, op.Proceed, op.Turn)
EVICTING_DEVICE = (op.Evict, op.Prefill, op.Decode, *LOADING)
"""Operations that may evict device data, themselves or to make room."""

LANDING = (CheckPrefetch, PollStorage)
"""Operations by which a prefetch may land on the host."""


def writes_host(step: Step) -> bool:
    """Whether an operation may back nodes up, and evict host data to make room for it."""
    if step.before.config.writes_back:
        return isinstance(step.operation, EVICTING_DEVICE)
    return step.before.config.has_host and isinstance(step.operation, INSERTING)


def may_drain_writes(step: Step) -> bool:
    """Whether an eviction may have waited for the backups that inserts left (model/options.py)."""
    regains = BACKS_UP_WHAT_IS_REGAINED in step.before.options and step.before.config.writes_back
    return regains and isinstance(step.operation, EVICTING_DEVICE)


def drained_locks(step: Step, b: int, component: str) -> int:
    """Locks of a node before the step that backups hold which the step may have waited for.

    Where the extent of receipts is hidden, all that may be of windows.
    """
    if not may_drain_writes(step):
        return 0
    count = 0
    for r in step.before.receipts:
        start = r.full_start if component == FULL else r.swa_start
        covers = start is not None and start <= step.before.nodes[b].start
        covers = covers or (component != FULL and HIDES_LOCKS in step.before.options)
        if (r.owner, r.tier) == (op.WRITE, "device") and covers:
            count += b in set(step.before.path(r.anchor))
    return count


def given_up_locks(step: Step, b: int, component: str) -> int:
    """Locks of a node before a chunk which the request may give back in it.

    With lazy tracking, of the state that it began with, where no other slot can be had for the one
    that it hands over: the forward pass has used it.
    """
    lazy = step.before.config.mamba_strategy == EXTRA_BUFFER_LAZY
    if component != MAMBA or not lazy or not isinstance(step.operation, op.Prefill):
        return 0
    own = ("device", "request", step.operation.request, b)
    return sum((r.tier, r.owner, r.name, r.anchor) == own for r in step.before.receipts)


def may_lose_host_data(step: Step) -> bool:
    """Host eviction happens when it is asked for, and to make room for a backup or a prefetch."""
    asked = op.EvictHost | op.Reset | BeginPrefetch | PollStorage
    return isinstance(step.operation, asked) or writes_host(step)


def host_is_ample(view: View) -> bool:
    """The host has room, without evicting, for all that a backup would still take there.

    What a backed-up node gained since is only copied with the option backs-up-windows.
    """
    if any(pool.startswith("host_") for pool in view.armed_failures):
        return False
    again = BACKS_UP_WINDOWS in view.options
    for component in view.config.components:
        placed = [(n.backuped, n.placement(component)) for n in view.nodes]
        need = sum(
            len(p.device or ())
            for backuped, p in placed
            if p is not None and (p.host is None if again else not backuped)
        )
        if need > view.pools[f"host_{component}"].free_slots:
            return False
    return True


def closed_with(step: Step) -> set[str]:
    """Sessions that a ``CloseSession`` may close: its own, or all that are closing, as that is."""
    assert isinstance(step.operation, op.CloseSession)
    name = step.operation.session
    closing = {s.name for s in step.before.sessions if s.closing}
    return closing if name in closing else {name}


def is_ok(step: Step) -> bool:
    return step.outcome.status is Status.OK


def is_refused(step: Step) -> bool:
    return step.outcome.status is Status.REFUSED


def settles(step: Step, old: Request, new: Request) -> bool:
    """Whether a forward pass gave the request's batch their slots and filled them."""
    if BINDS_BY_BATCH not in step.after.options or not isinstance(step.operation, op.Prefill):
        return False
    outstanding = old.state_source is not None or old.zero_state
    left = new.state_source is not None or new.zero_state
    bound = old.state_slot is None and old.zero_state and new.state_slot is not None
    return outstanding and not left and (bound or old.state_slot == new.state_slot)


def joins_a_batch(step: Step, old: Request, new: Request) -> bool:
    """Whether a scheduler's round gave a request what it gives to all of its batch.

    Who goes on in chunks is granted the next one when the round begins, which is with any
    candidate; the first that is computed brings the slots of all.
    """
    page = step.before.config.page_size
    if not step.before.config.max_new_tokens or new.row[: len(old.row)] != old.row:
        return False
    if isinstance(step.operation, op.Admit | op.Proceed):
        unfinished = 0 < old.committed < old.prompt_len and not old.granted
        return new.row == old.row and (unfinished or new.granted == old.granted)
    if not isinstance(step.operation, op.Prefill) or new.granted != old.granted:
        return False
    return new.row == old.row or len(new.row) == whole_pages(old.granted, page)


def unchanged(step: Step, *fields: str) -> Iterator[Fault]:
    """A fault per field of the snapshot that differs."""
    for name in fields:
        if getattr(step.before.snapshot, name) != getattr(step.after.snapshot, name):
            yield Fault(f"{name} changed")


def value(view: View, parts: tuple[int, ...], component: str, tier: str) -> Slots | None:
    """The slots that adjacent nodes hold together; ``None`` unless all of them have a value.

    A state belongs to the end of a prefix: of the parts of a split node, to the lowest.
    """
    if component == MAMBA:
        parts = parts[-1:]
    slots: list[int] = []
    for i in parts:
        part = tier_of(view.nodes[i].placement(component), tier)
        if part is None:
            return None
        slots += part
    return tuple(slots) if parts else None


def tier_of(placement: Placement | None, tier: str) -> Slots | None:
    if placement is None:
        return None
    return placement.device if tier == "device" else placement.host


def kept(step: Step, b: int, component: str, tier: str) -> bool:
    """Whether what a node held on a tier before, it holds after, slot by slot."""
    held = tier_of(step.before.nodes[b].placement(component), tier)
    return held is None or value(step.after, step.fragments[b], component, tier) == held


def taken_out_of_turn(step: Step, component: str, spared: Container[int] = ()) -> Iterator[Fault]:
    """A fault per node that lost device data while unlocked data behind it in the list was kept.

    ``spared``: nodes that the operation itself holds.
    """
    before, kept = step.before, False
    for b in reversed(before.lru[component]):
        old = before.nodes[b].placement(component)
        if old is None or old.lock or b in spared:
            continue
        gone = value(step.after, step.fragments.get(b, ()), component, "device") is None
        if gone and kept:
            yield Fault(f"{before.name(b)} lost its {component} data before a less recent node")
        kept = kept or not gone


def values_stay(step: Step, tier: str) -> Iterator[Fault]:
    """A fault per node whose data on a tier changed, appeared or went."""
    for component in step.before.config.components:
        for b, old in enumerate(step.before.nodes):
            held = tier_of(old.placement(component), tier)
            parts = step.fragments[b]
            if not parts or value(step.after, parts, component, tier) != held:
                yield Fault(f"{component} data of {step.before.name(b)} on {tier} changed", parts)


def receipts_stay(step: Step) -> Iterator[Fault]:
    """Anchors are indices and may shift; who holds what may not.

    Where write-back copies what it evicts, what it copied goes on to the store.
    """
    ended = {op.WRITE} if may_drain_writes(step) else set()
    ended |= {BACKUP} if step.before.config.writes_back else set()
    before, after = (
        sorted((r.tier, r.owner, r.name) for r in view.receipts if r.owner not in ended)
        for view in (step.before, step.after)
    )
    if before != after:
        yield Fault("receipts were taken or given back")


def path_to(view: View, namespace: str, tokens: tuple[int, ...]) -> list[int]:
    """Nodes whose whole prefix is a prefix of ``tokens``, root to leaf."""
    return sorted(
        (
            i
            for i, n in enumerate(view.nodes)
            if n.namespace == namespace and n.tokens == tokens[: n.end]
        ),
        key=lambda i: view.nodes[i].end,
    )


def length_present(view: View, namespace: str, tokens: tuple[int, ...]) -> int:
    """Tokens of the longest page-aligned prefix of ``tokens`` that the tree spells."""
    size, longest = view.config.page_size, 0
    for n in view.nodes:
        if n.namespace == namespace:
            common = 0
            for x, y in zip(n.tokens, tokens, strict=False):
                if x != y:
                    break
                common += 1
            longest = max(longest, common - common % size)
    return longest


def key_of(view: View, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """The units that tokens of an operation or a request have in the tree."""
    return units(tokens, view.config.bigram)


def aligned(view: View, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Their units, in whole pages."""
    key = key_of(view, tokens)
    return key[: len(key) - len(key) % view.config.page_size]


def whole_pages(tokens: int, page: int) -> int:
    """Slots of the pages that so many tokens begin."""
    return -(-tokens // page) * page


def new_slots(step: Step) -> int:
    """Slots of whole pages that an operation needs beyond those that the request has."""
    o, page = step.operation, step.before.config.page_size
    if isinstance(o, op.Insert):
        return -(-len(o.tokens) // page) * page
    assert isinstance(o, op.Prefill | op.Decode)
    batch = [r for r in step.before.requests if r.granted]
    if batch:
        return sum(max(0, whole_pages(r.granted, page) - len(r.row)) for r in batch)
    tokens = o.count if isinstance(o, op.Prefill) else len(o.tokens) + o.ahead
    running = (r for r in step.before.requests if r.name == o.request)
    return sum(max(0, -(-(r.committed + tokens) // page) * page - len(r.row)) for r in running)


def had_to_evict(step: Step) -> bool:
    """Whether a chunk had to make room: what that took, the chunk's insert may have given back."""
    if not isinstance(step.operation, op.Prefill):
        return False
    more = new_slots(step)
    if step.before.config.max_new_tokens:  # the release asks for one page more a request
        more += step.before.config.page_size * len(step.before.requests)
    need = {c: 1 if c == MAMBA else more for c in step.before.config.components}
    return any(step.before.pools[c].free_slots < n for c, n in need.items())


def as_told(view: View, hits: dict[str, int]) -> dict[str, int]:
    """Hits of a match in the numbers that the cache tells them in (option one-host-hit)."""
    if ONE_HOST_HIT not in view.options:
        return hits
    others = [name for name in ("swa_host_hit", "mamba_host_hit") if hits.get(name)]
    one = max(hits["host_hit"], int(bool(others)))
    return {**hits, **dict.fromkeys(others, 0), "host_hit": one}
