"""What taking and giving back a lock changes (domain.md 5.7, 5.8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, key_of, unchanged, values_stay
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import HIDES_LOCKS
from radixproof.model.snapshot import Receipt

_DATA = ("pools", "full_to_swa", "writes", "loads", "requests", "access_order", "lru")


@step_invariant(
    "S-lock-1",
    op.Lock,
    op.Unlock,
    op.HostLock,
    op.HostUnlock,
    formula="all values, pools, maps, queues, requests and access times as before",
    without_it="A lock is a promise, not an action.",
    taught_by="M-12",
)
def locks_move_no_data(step: Step) -> Iterator[Fault]:
    """Taking or giving back a lock changes counts and eligibility, never data."""
    yield from unchanged(step, *_DATA)
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")


@step_invariant(
    "S-lock-2",
    op.Lock,
    op.HostLock,
    formula="ok => receipts grow by one: FULL from the root (host: the node itself) and SWA from"
    " the topmost node of one window, both down to the node, and the node's state",
    without_it="Too short a lock leaves what is read unprotected, too long a one pins the pool.",
    taught_by="M-10, SGLang 36848",
)
def a_lock_covers_path_and_window(step: Step) -> Iterator[Fault]:
    """A lock covers the whole path for FULL, one window for SWA and the node's own state."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Lock | op.HostLock)
    o, view = step.operation, step.before
    tier = "device" if isinstance(o, op.Lock) else "host"
    anchor = view.find(o.namespace, key_of(view, o.tokens)) if o.tokens else -1
    if anchor is None:
        yield Fault("a node was locked that is not there")
        return
    full = swa = None
    if anchor >= 0:
        full = 0 if tier == "device" else view.nodes[anchor].start
        if view.config.has_swa:
            end = view.nodes[anchor].end
            begin = max(0, end - view.config.sliding_window)
            starts = (view.nodes[i].start for i in view.path(anchor))
            swa = next((start for start in starts if start <= begin), None)
        if HIDES_LOCKS in view.options:
            swa = None
    state = view.config.has_mamba and anchor >= 0
    new = Receipt(tier, "client", o.holder, anchor, full, swa, state)
    wanted = Counter([*view.receipts, new])
    if Counter(step.after.receipts) != wanted:
        yield Fault(f"the new receipt is not {tier} from FULL {full} and SWA {swa}", (anchor,))


@step_invariant(
    "S-lock-3",
    op.Lock,
    formula="ok => delta = FULL tokens on the path on device that nobody had locked",
    without_it="Load-back adds it to a budget.",
    taught_by="M-38",
)
def a_lock_reports_what_it_protects(step: Step) -> Iterator[Fault]:
    """``delta`` is the number of FULL tokens that moved from evictable to protected."""
    if is_ok(step):
        moved = step.after.protected["full"] - step.before.protected["full"]
        if step.outcome.values.get("delta") != moved:
            yield Fault(f"delta is {step.outcome.values.get('delta')}, {moved} tokens moved")


@step_invariant(
    "S-lock-4",
    op.Unlock,
    op.HostUnlock,
    formula="ok => receipts shrink by the holder's one",
    without_it="A release that takes more than it gave is somebody else's use after free.",
    taught_by="M-10",
)
def an_unlock_gives_back_its_own_receipt(step: Step) -> Iterator[Fault]:
    """Giving a lock back ends that receipt and no other."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Unlock | op.HostUnlock)
    tier = "device" if isinstance(step.operation, op.Unlock) else "host"
    ended = Counter(step.before.receipts) - Counter(step.after.receipts)
    begun = Counter(step.after.receipts) - Counter(step.before.receipts)
    names = [(r.tier, r.owner, r.name) for r in ended.elements()]
    if begun or names != [(tier, "client", step.operation.holder)]:
        yield Fault(f"ended {names}, begun {list(begun)}")
