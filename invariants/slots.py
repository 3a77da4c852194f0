"""Every slot has one owner, the map is right, the sizes add up (domain.md 7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from radixproof.invariants.catalogue import WITH_HOST, WITH_SWA, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.snapshot import Request, Slots

FREE = -1
REQUEST = -2
SESSION = -3
STORAGE = -4


@state_invariant(
    "I-20",
    formula="all device slots: one of {free, a position of a node, of a request, of a session"
    " between turns}",
    without_it="A slot with two owners is overwritten, one with none is lost.",
    taught_by="SGLang 27586, M-4, M-41",
)
def device_slots_have_one_owner(view: View) -> Iterator[Fault]:
    """Every device slot is free, or one node's, one request's or one session's, and only one's."""
    for component in view.config.components:
        yield from _ownership(view, component, list(_device_claims(view, component)))


@state_invariant(
    "I-21",
    formula="all host slots: one of {free, a position of a node, a position of a prefetch's buffer,"
    " on its way back from storage}",
    without_it="As on the device: shared host slots mix prefixes, lost ones shrink the tier.",
    taught_by="SGLang 26556, M-31",
    holds_under=WITH_HOST,
)
def host_slots_have_one_owner(view: View) -> Iterator[Fault]:
    """Every host slot is free, one node's or a prefetch's, and only one of these."""
    if not view.config.has_host:
        return
    for component in view.config.components:
        claims = [
            (p.host, i)
            for i, n in enumerate(view.nodes)
            if (p := n.placement(component)) is not None and p.host is not None
        ]
        claims += _storage_claims(view, component)
        yield from _ownership(view, f"host_{component}", claims)


def _storage_claims(view: View, component: str) -> list[tuple[Slots, int]]:
    """Host slots that lie between the tree and the free list."""
    if view.storage is None:
        return []
    claims = [(p.slots.get(component, ()), STORAGE) for p in view.storage.prefetches]
    return [*claims, (view.storage.releasing.get(component, ()), STORAGE)]


@state_invariant(
    "I-22",
    formula="all n with SWA.device, all i: f2s[n.FULL.device[i]] = n.SWA.device[i] != 0",
    without_it="Attention kernels translate FULL slots to SWA slots and would read another prefix.",
    taught_by="M-19, M-33",
    holds_under=WITH_SWA,
)
def map_agrees_with_live_swa_data(view: View) -> Iterator[Fault]:
    """The map leads from a node's FULL slots to the SWA slots that the node owns."""
    table = view.full_to_swa
    for i, n in enumerate(view.nodes):
        if n.swa is None or n.swa.device is None or n.full.device is None:
            continue
        wrong = [
            x
            for x, y in zip(n.full.device, n.swa.device, strict=False)
            if not y or _mapped(table, x) != y
        ]
        if wrong:
            yield Fault(f"{view.name(i)}: FULL slots {wrong} are mapped wrongly", (i,))


@state_invariant(
    "I-23",
    formula="all n with FULL.device and no SWA.device, all i: f2s[n.FULL.device[i]] = 0",
    without_it="Freeing the tombstone later would free somebody else's SWA slot.",
    taught_by="SGLang 27779, M-20",
    holds_under=WITH_SWA,
)
def tombstones_are_unmapped(view: View) -> Iterator[Fault]:
    """A node without SWA data has FULL slots that map to nothing."""
    table = view.full_to_swa
    for i, n in enumerate(view.nodes):
        if n.swa is None or n.swa.device is not None or n.full.device is None:
            continue
        wrong = tuple(("full", x) for x in n.full.device if _mapped(table, x))
        if wrong:
            yield Fault(f"{view.name(i)} is a tombstone with mapped FULL slots", (i,), wrong)


@state_invariant(
    "I-24",
    formula="all FULL slots x: free(x) => f2s[x] = 0",
    without_it="A recycled FULL slot would inherit SWA data of its former owner.",
    taught_by="M-20, M-21",
    holds_under=WITH_SWA,
)
def free_slots_are_unmapped(view: View) -> Iterator[Fault]:
    """A free FULL slot maps to nothing."""
    if not view.config.has_swa:
        return
    pool, table = view.pools["full"], view.full_to_swa
    size = pool.page_size
    free = (p * size + i for p in pool.free_pages for i in range(size))
    wrong = tuple(("full", x) for x in free if _mapped(table, x))
    if wrong:
        yield Fault(f"free FULL slots {[x for _, x in wrong]} are mapped", (), wrong)


@state_invariant(
    "I-25",
    formula="evictable[c] = sum |n.c.device| with lock = 0; protected[c] = the rest",
    without_it="Admission budgets on these numbers: it would over-commit or starve.",
    taught_by="M-13",
)
def sizes_add_up(view: View) -> Iterator[Fault]:
    """Evictable and protected sizes are the device tokens without and with a lock."""
    for component in view.config.components:
        sizes = [0, 0]
        for n in view.nodes:
            p = n.placement(component)
            if p is not None and p.device is not None:
                sizes[p.lock > 0] += len(p.device)
        found = [view.evictable.get(component), view.protected.get(component)]
        if found != sizes:
            yield Fault(f"{component}: evictable and protected are {found}, not {sizes}")


def owned_rows(request: Request) -> tuple[int, ...]:
    """FULL slots that belong to the request and not to the tree."""
    return request.row[request.protected :]


def _device_claims(view: View, component: str) -> Iterator[tuple[Iterable[int], int]]:
    for i, n in enumerate(view.nodes):
        p = n.placement(component)
        if p is not None and p.device is not None:
            yield p.device, i
    table = view.full_to_swa
    for r in view.requests:
        if component == "full":
            yield owned_rows(r), REQUEST
        elif component == "mamba":
            own = () if r.state_slot is None else (r.state_slot,)
            yield (*own, *r.tracking_slots), REQUEST
        else:
            rest = r.row[max(r.protected, r.swa_evicted) :]
            yield [_mapped(table, x) for x in rest], REQUEST
    for s in view.sessions:
        if component == "full":
            yield s.row[s.protected :], SESSION
        elif component == "swa":
            rest = s.row[max(s.protected, s.swa_evicted) :]
            yield [_mapped(table, x) for x in rest], SESSION


def _ownership(
    view: View, name: str, claims: Sequence[tuple[Iterable[int], int]]
) -> Iterator[Fault]:
    pool = view.pools[name]
    size, first = pool.page_size, pool.first_slot
    owner: dict[int, int] = {}
    for p in pool.free_pages:
        for x in range(p * size, p * size + size):
            if x in owner:
                yield Fault(f"{name} slot {x} is free twice", (), ((name, x),))
            owner[x] = FREE
    for slots, claimant in claims:
        for x in slots:
            if x in owner:
                at = tuple(i for i in (owner[x], claimant) if i >= 0)
                yield Fault(
                    f"{name} slot {x} belongs to {_who(view, owner[x])} and {_who(view, claimant)}",
                    at,
                    ((name, x),),
                )
            owner[x] = claimant
    if len(owner) != pool.slots or any(not first <= x < first + pool.slots for x in owner):
        everything = set(range(first, first + pool.slots))
        lost, strange = sorted(everything - owner.keys()), sorted(owner.keys() - everything)
        if lost:
            yield Fault(f"{name} slots {lost} have no owner", (), tuple((name, x) for x in lost))
        if strange:
            who = sorted({_who(view, owner[x]) for x in strange})
            yield Fault(f"{name} slots {strange} of {', '.join(who)} do not exist")


def _who(view: View, owner: int) -> str:
    special = {FREE: "the free list", REQUEST: "a request", SESSION: "a session"}
    special |= {STORAGE: "the storage tier"}
    return special.get(owner) or view.name(owner)


def _mapped(table: tuple[int, ...], x: int) -> int:
    return table[x] if 0 <= x < len(table) else 0
