"""What the operations of a storage tier may and must change (domain.md 6.12)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_STORAGE, Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, is_refused, receipts_stay, unchanged
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import FULL
from radixproof.model.snapshot import ROOT
from radixproof.model.storage import READ, Prefetch
from radixproof.model.storage_operations import (
    BeginPrefetch,
    CheckPrefetch,
    Elapse,
    LosePages,
    PollStorage,
    StorageWork,
)

_TREE = ("nodes", "receipts", "requests", "candidates", "lru", "host_lru", "access_order")


def _prefetch(view: View, request: str) -> Prefetch | None:
    found = view.storage.prefetches if view.storage is not None else ()
    return next((p for p in found if p.request == request), None)


@step_invariant(
    "S-prefetch-1",
    BeginPrefetch,
    formula="prefetching = k > 0 <=> one prefetch more: of this request, of k tokens, and less than"
    " the limit was under way; otherwise no receipt and no quota is taken",
    without_it="A declined prefetch that keeps a lock or its quota starves those after it.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def a_prefetch_begins_whole_or_not_at_all(step: Step) -> Iterator[Fault]:
    """A prefetch that is declined holds nothing; one that begins is the request's own."""
    before, after = step.before.storage, step.after.storage
    if before is None or after is None or not is_ok(step):
        return
    assert isinstance(step.operation, BeginPrefetch)
    new = [p for p in after.prefetches if _prefetch(step.before, p.request) is None]
    wanted = step.outcome.values.get("prefetching", 0)
    if [(p.request, p.span) for p in new] != ([(step.operation.request, wanted)] * bool(wanted)):
        yield Fault(f"{wanted} tokens were asked for, and {len(new)} prefetches began")
    if not wanted:
        yield from receipts_stay(step)
    elif before.occupied >= before.capacity:
        yield Fault(f"a prefetch began though {before.occupied} tokens are under way already")


@step_invariant(
    "S-prefetch-5",
    BeginPrefetch,
    formula="a prefetch p that begins: start(p) = end(anchor(p)), 0 at the root; tokens(p)[:start]"
    " are the anchor's",
    without_it="What is asked for under the anchor's hash would be other tokens than come next.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def a_prefetch_begins_where_its_anchor_ends(step: Step) -> Iterator[Fault]:
    """A prefetch asks for the tokens right behind the node below which it will land."""
    view = step.after
    for p in view.storage.prefetches if view.storage is not None else ():
        if not is_ok(step) or _prefetch(step.before, p.request) is not None or p.anchor < ROOT:
            continue
        anchor = view.nodes[p.anchor] if p.anchor != ROOT else None
        end = anchor.end if anchor is not None else 0
        if p.start != end:
            yield Fault(
                f"the prefetch of {p.request} begins at {p.start}, its anchor ends at {end}"
            )
        elif anchor is not None and anchor.tokens != p.tokens[:end]:
            yield Fault(f"the prefetch of {p.request} hangs below another prefix", (p.anchor,))


@step_invariant(
    "S-prefetch-2",
    CheckPrefetch,
    formula="refused => nothing changed, and a worker has work, or there is news to be polled",
    without_it="A request would wait for ever for a prefetch that nobody works on.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def a_prefetch_is_waited_for_while_it_can_go_on(step: Step) -> Iterator[Fault]:
    """A request waits for its prefetch only while somebody is still to do something for it."""
    if not is_refused(step) or step.before.storage is None:
        return
    yield from unchanged(step, *_TREE, "pools")
    if not (step.before.storage.work or step.before.storage.news):
        yield Fault("a prefetch is waited for that nobody works on")


@step_invariant(
    "S-prefetch-3",
    CheckPrefetch,
    PollStorage,
    op.Abort,
    formula="p before and not after, FULL alone, not aborted, m units of p there =>"
    " tokens(p)[:start + m] have FULL data in the tree, unless they would hang below a node without"
    " host data under write-through",
    without_it="The store was read for nothing, and the request computes it again.",
    taught_by="SGLang 38429",
    holds_under=WITH_STORAGE,
)
def what_a_prefetch_brought_is_found(step: Step) -> Iterator[Fault]:
    """What has arrived when a prefetch ends is in the tree afterwards."""
    if step.before.storage is None or isinstance(step.operation, op.Abort):
        return
    for p in step.before.storage.prefetches:
        if _prefetch(step.after, p.request) is not None or not p.completed:
            continue
        if set(p.slots) != {FULL}:
            continue
        wanted = p.start + p.completed
        reached, last = _reached(step.after, p)
        if reached >= wanted or p.anchor < -1:
            continue
        hangs = last >= 0 and not step.after.nodes[last].backuped
        if not (hangs and step.after.config.writes_through):
            yield Fault(
                f"{p.completed} tokens had arrived for {p.request}, and the tree has {reached} of"
                f" {wanted}",
                (last,) if last >= 0 else (),
            )


def _reached(view: View, p: Prefetch) -> tuple[int, int]:
    """How far the tree holds FULL data of a prefetch's tokens, and the node where that ends."""
    length, last = 0, -1
    while True:
        below = [i for i in view.children.get(last, ()) if _lies_on(view, i, p)]
        if not below:
            return length, last
        last = below[0]
        length = _shared(view, last, p)
        if length < view.nodes[last].end:
            return length, last


def _lies_on(view: View, i: int, p: Prefetch) -> bool:
    n = view.nodes[i]
    held = n.full.device is not None or n.full.host is not None
    return held and n.namespace == p.namespace and _shared(view, i, p) > n.start


def _shared(view: View, i: int, p: Prefetch) -> int:
    """Units of a node's prefix that are the prefetch's too, in whole pages."""
    a, b = view.nodes[i].tokens, p.tokens
    pairs = enumerate(zip(a, b, strict=False))
    length = next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))
    return length // view.config.page_size * view.config.page_size


@step_invariant(
    "S-prefetch-4",
    op.Abort,
    formula="ok => no prefetch of that request",
    without_it="What is brought for a request that is gone is brought for nobody.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def an_abort_gives_up_the_prefetch(step: Step) -> Iterator[Fault]:
    """A request that is aborted has no prefetch any more."""
    assert isinstance(step.operation, op.Abort)
    if is_ok(step) and _prefetch(step.after, step.operation.request) is not None:
        yield Fault(f"the prefetch of {step.operation.request} goes on")


@step_invariant(
    "S-storage-1",
    StorageWork,
    Elapse,
    LosePages,
    formula="nodes, locks, requests, lists and free slots as before; bytes only in"
    " StorageWork(read), and only in slots that a prefetch owns",
    without_it="Workers run beside the scheduler: whatever else they touch is a race.",
    taught_by="D-9, D-14",
    holds_under=WITH_STORAGE,
)
def workers_touch_only_what_they_were_given(step: Step) -> Iterator[Fault]:
    """A worker writes into the buffers of prefetches, and changes nothing else on this side."""
    yield from unchanged(step, *_TREE, "full_to_swa", "writes", "loads")
    reads = isinstance(step.operation, StorageWork) and step.operation.worker == READ
    for name, pool in step.before.pools.items():
        new = step.after.pools[name]
        if new.free_pages != pool.free_pages:
            yield Fault(f"free slots of {name} changed")
        pairs = enumerate(zip(pool.contents, new.contents, strict=True))
        changed = {x for x, (was, now) in pairs if was != now}
        stray = changed - (_lent(step.before, name) if reads else set())
        if stray:
            told = f"a worker wrote into {name} slots {sorted(stray)}, which are not its own"
            yield Fault(told, (), tuple((name, x) for x in sorted(stray)))


def _lent(view: View, pool: str) -> set[int]:
    """Host slots that workers may write into."""
    component = pool.removeprefix("host_")
    if view.storage is None or component == pool:
        return set()
    lent = {x for p in view.storage.prefetches for x in p.slots.get(component, ())}
    return lent | set(view.storage.releasing.get(component, ()))


@step_invariant(
    "S-storage-2",
    StorageWork,
    PollStorage,
    LosePages,
    formula="h in store before and after => store[h] as before; fewer pages only in LosePages",
    without_it="A page hash names a content: whoever looked it up before would now read another.",
    taught_by="M-39",
    holds_under=WITH_STORAGE,
)
def stored_pages_never_change(step: Step) -> Iterator[Fault]:
    """A page in the store is what it was, until the store loses it."""
    before, after = step.before.storage, step.after.storage
    if before is None or after is None:
        return
    for component, pages in before.pages.items():
        now = after.pages.get(component, {})
        if any(name in now and now[name] != page for name, page in pages.items()):
            yield Fault(f"a stored page of {component} changed")
        if not isinstance(step.operation, LosePages) and not now.keys() >= pages.keys():
            yield Fault(f"a stored page of {component} is gone")


@step_invariant(
    "S-storage-3",
    PollStorage,
    formula="prefetches, backups = how many ended; a backup is not begun",
    without_it="The scheduler would lose count of what it waits for.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def a_poll_reports_what_ended(step: Step) -> Iterator[Fault]:
    """A poll tells how many prefetches and writes ended, and begins none."""
    before, after = step.before.storage, step.after.storage
    if before is None or after is None or not is_ok(step):
        return
    ended = {
        "prefetches": len(before.prefetches) - len(after.prefetches),
        "backups": len(before.backups) - len(after.backups),
    }
    told = {name: step.outcome.values.get(name) for name in ended}
    if told != ended:
        yield Fault(f"a poll tells {told}, and {ended} ended")
    if not {b.id for b in after.backups} <= {b.id for b in before.backups}:
        yield Fault("a poll began to write to the store")
