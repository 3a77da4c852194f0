"""Between host and store (domain.md 4.6, 6.12): what is held, what lies where, what is hashed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from radixproof.invariants.catalogue import WITH_STORAGE, state_invariant
from radixproof.invariants.data import tags_of
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.blocks import unit_bytes
from radixproof.model.config import FULL
from radixproof.model.options import SHARES_STORED_PAGES
from radixproof.model.snapshot import Slots


@lru_cache(maxsize=1 << 14)
def page_hashes(before: str, units: tuple[int, ...], page_size: int) -> tuple[str, ...]:
    """Digests of the pages of ``units``, each going into the next; ``before``: that of the page
    in front of them, or "".
    """
    found, digest = [], bytes.fromhex(before)
    for begin in range(0, len(units), page_size):
        page = b"".join(map(unit_bytes, units[begin : begin + page_size]))
        digest = sha256(digest + page).digest()
        found.append(digest.hex())
    return tuple(found)


@state_invariant(
    "I-46",
    formula="all n: hash(n)[j] = H(hash of the page before, page j of n); H(nothing, ...) at the"
    " start of a prefix without namespace, and of no other (shares-stored-pages: of any);"
    " |hash(n)| = |n| / page",
    without_it="Store and tree would name the same prefix differently: a page is written and never"
    " found, or found for another prefix.",
    taught_by="SGLang 27770, M-39",
    holds_under=WITH_STORAGE,
)
def page_hashes_are_those_of_the_prefix(view: View) -> Iterator[Fault]:
    """A node's page hashes are chained over its whole prefix, however it was made or split."""
    if view.storage is None:
        return
    size = view.config.page_size
    for i, n in enumerate(view.nodes):
        found, last = view.storage.hashes[i], ""
        if n.parent >= 0:
            above = view.storage.hashes[n.parent]
            if not above:
                continue  # told of the parent
            last = above[-1]
        if found is None or len(found) != len(n.key) // size:
            yield Fault(f"{view.name(i)} has not one hash for each page", (i,))
            continue
        key = n.key
        seeded = SHARES_STORED_PAGES not in view.options
        if n.parent < 0 and n.namespace and seeded:  # how a namespace begins is the release's own
            last, key = found[0], n.key[size:]
            if found[0] == page_hashes("", n.key[:size], size)[0]:
                yield Fault(f"{view.name(i)} is hashed without its namespace", (i,))
            found = found[1:]
        if found != page_hashes(last, key, size):
            yield Fault(f"the page hashes of {view.name(i)} are not those of its prefix", (i,))


@state_invariant(
    "I-36",
    formula="all n, c, j: hash(n)[j] in store[c] => store[c][hash(n)[j]] = payload of page j of n",
    without_it="Whoever asks for this prefix, on any server, is given another one's KV.",
    taught_by="M-39",
    holds_under=WITH_STORAGE,
)
def stored_pages_hold_the_prefix_of_their_hash(view: View) -> Iterator[Fault]:
    """What the store holds under a node's page hash is the KV of exactly that prefix."""
    if view.storage is None:
        return
    size = view.config.page_size
    for i, n in enumerate(view.nodes):
        tags = tags_of(n.namespace, n.tokens)[n.start :]
        for component, pages in view.storage.pages.items():
            for j, name in enumerate(view.storage.hashes[i] or ()):
                if name in pages and pages[name] != tags[j * size : (j + 1) * size]:
                    yield Fault(
                        f"the store holds foreign {component} data as page {j} of {view.name(i)}",
                        (i,),
                    )


@state_invariant(
    "I-36",
    formula="all prefetches p, j < completed(p): payload[p.slots[j]] = prefix(p)[:start + j + 1]",
    without_it="A prefetch would put another prefix's KV into the tree.",
    taught_by="M-39",
    holds_under=WITH_STORAGE,
)
def prefetched_pages_hold_their_prefix(view: View) -> Iterator[Fault]:
    """What has arrived of a prefetch is the KV of the request's own prefix."""
    if view.storage is None:
        return
    contents = view.pools["host_full"].contents
    for p in view.storage.prefetches:
        tags = tags_of(p.namespace, p.tokens)[p.start :]
        slots: Slots = p.slots.get(FULL, ())[: p.completed]
        wrong = [x for x, tag in zip(slots, tags, strict=False) if contents[x] != tag]
        if wrong:
            yield Fault(
                f"the prefetch of {p.request} brought foreign data to host_full slots {wrong}",
                (),
                tuple(("host_full", x) for x in wrong),
            )


@state_invariant(
    "I-21",
    formula="occupied = sum of |p| over prefetches p; so 0 without any",
    without_it="The limit on prefetches fills up with those long gone, until none is made.",
    taught_by="domain.md 6.12",
    holds_under=WITH_STORAGE,
)
def prefetches_count_while_they_last(view: View) -> Iterator[Fault]:
    """What counts against the limit of prefetches are those under way, and nothing else."""
    if view.storage is None:
        return
    wanted = sum(p.span for p in view.storage.prefetches)
    if view.storage.occupied != wanted:
        yield Fault(f"{view.storage.occupied} tokens count as prefetching, not {wanted}")


@state_invariant(
    "I-15",
    formula="all writes to the store w, c: w.slots[c] = the last |w.slots[c]| host slots of c on"
    " the path of node(w)",
    without_it="The store would get the bytes of whatever came into these slots since.",
    taught_by="SGLang 38138, M-35",
    holds_under=WITH_STORAGE,
)
def writes_to_the_store_keep_their_source(view: View) -> Iterator[Fault]:
    """What is being written to the store stays where the write reads it."""
    if view.storage is None:
        return
    for b in view.storage.backups:
        if b.node < 0:
            yield Fault(f"a node that is being written to the store is {view.name(b.node)}")
            continue
        for component, slots in b.slots.items():
            if slots != _host_tail(view, b.node, component, len(slots)):
                yield Fault(
                    f"{component} host data of {view.name(b.node)} moved while it is being written"
                    " to the store",
                    (b.node,),
                    tuple((f"host_{component}", x) for x in slots),
                )


def _host_tail(view: View, index: int, component: str, count: int) -> Slots:
    """The last host slots on a node's path; splits cut a node, and leave its end in place."""
    found: Slots = ()
    for i in view.path(index):
        if len(found) >= count:
            break
        p = view.nodes[i].placement(component)
        found = ((p.host or ()) if p is not None else ()) + found
    return found[-count:] if count else ()


@state_invariant(
    "I-44",
    formula="no worker has work, no news => no writes to the store, nothing on its way back, and"
    " each prefetch's request still waits",
    without_it="Slots, locks and quota that nobody will ever move are lost.",
    taught_by="domain.md 6.12, M-31",
    holds_under=WITH_STORAGE,
)
def nothing_is_stuck_between_host_and_store(view: View) -> Iterator[Fault]:
    """What no worker and no poll will move on is held by nobody."""
    s = view.storage
    if s is None or s.work or s.news:
        return
    if s.backups:
        yield Fault("a write to the store is held, and nobody will end it")
    if any(s.releasing.values()):
        yield Fault(f"host slots are on their way back, and nobody brings them: {s.releasing}")
    waiting = {c.name for c in view.candidates}
    for p in s.prefetches:
        if p.request not in waiting:
            yield Fault(f"the prefetch of {p.request} is held, and nobody will end it")
