"""The whole observable state of a cache, in canonical form.

Nodes stand in depth-first order, siblings by (namespace, key), and everything else refers to a
node by its index in that order, so equal states give equal snapshots whatever ids, addresses or
dict orders a subject has. Slot numbers and ids are a subject's own: exact within one subject,
compared up to renaming between two (``canonical``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from radixproof.model.blocks import Event
from radixproof.model.config import CacheConfig
from radixproof.model.storage import StorageState

ROOT = -1
"""Index that stands for the root."""
DETACHED = -2
"""Index of a node that something refers to but that cannot be reached from the root."""

Slots = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """One component's data on one node: FULL and SWA one slot per token, MAMBA a single one."""

    device: Slots | None = None
    host: Slots | None = None
    lock: int = 0
    host_lock: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One node below the root. ``tokens`` is the whole prefix it spells, ``key`` its own edge.

    Both in units (model/units.py): tokens, or pairs of tokens written as one number each.
    """

    namespace: str
    tokens: tuple[int, ...]
    key: tuple[int, ...]
    label: tuple[int, ...]
    """The edge label (first page) under which the parent really holds the node."""
    parent: int
    """Index of the node whose children hold this one (``ROOT`` at the top)."""
    parent_pointer: int
    """Index of the node that this node itself takes for its parent."""
    id: int = field(compare=False)
    """The subject's own id; kept by the lower part of a split (I-29)."""
    full: Placement
    swa: Placement | None
    hit: int
    priority: int
    pending: int | None = field(compare=False)
    """Id of the write ack that covers the node, in the subject's own numbering."""
    mamba: Placement | None = None
    """The state of the whole prefix; ``None`` without MAMBA."""

    @property
    def end(self) -> int:
        return len(self.tokens)

    @property
    def start(self) -> int:
        return len(self.tokens) - len(self.key)

    @property
    def evicted(self) -> bool:
        return self.full.device is None

    @property
    def backuped(self) -> bool:
        return self.full.host is not None

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Of all components that the cache has."""
        return tuple(p for p in (self.full, self.swa, self.mamba) if p is not None)

    def placement(self, component: str) -> Placement | None:
        return self.full if component == "full" else self.swa if component == "swa" else self.mamba


@dataclass(frozen=True, slots=True)
class Pool:
    """``slots`` usable slots; device pools number them from ``page_size`` on, host pools from 0.

    ``free_pages`` holds page numbers (slot // page_size), as often as the free list holds them.
    ``contents[slot]`` is the payload tag found in the slot (model/payload.py).
    """

    slots: int
    page_size: int
    first_slot: int
    free_pages: tuple[int, ...]
    contents: tuple[int, ...]

    @property
    def free_slots(self) -> int:
        return len(self.free_pages) * self.page_size


@dataclass(frozen=True, slots=True)
class Move:
    """What a transfer copies of one component: equally long lists, in token order."""

    component: str
    device: Slots
    host: Slots


@dataclass(frozen=True, slots=True)
class Transfer:
    """One backup or load-back, from enqueue to acknowledgement, in queue order.

    ``stage`` is ``queued`` (accepted, not submitted), ``submitted`` or ``executed``; ``batch``
    numbers the submissions of its stream from the oldest one still in the queue (queued: -1).
    """

    stream: str
    id: int = field(compare=False)
    node: int
    """The lock node of a write; the target of a load."""
    nodes: tuple[int, ...]
    """Root to leaf: the publish nodes of a write; of a load, nodes on the target's path covered."""
    stage: str
    batch: int
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A live lock receipt.

    ``owner`` is ``client``, ``request``, ``session``, ``write`` or ``load``, with a storage tier
    ``prefetch`` or ``backup`` as well; ``name`` the holder, request or session ('' for transfers
    and backups). It covers, on the path of ``anchor``: FULL from token ``full_start`` on (``None``:
    nothing) and SWA from ``swa_start`` on (``None``: nothing). A start is the position of the
    topmost covered node's first token, 0 when the walk reached the root. ``state``: it covers the
    anchor's MAMBA state.
    """

    tier: str
    """``device`` or ``host``."""
    owner: str
    name: str
    anchor: int
    full_start: int | None
    swa_start: int | None
    state: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A running request; ``row[i]`` is the FULL slot of token ``i``, ``len(row)`` allocated.

    ``state_slot`` (MAMBA) is its own. The next forward pass first copies the device slot
    ``state_source`` into it, or zeroes it, where these are set. With a tracking buffer it owns
    ``tracking_slots`` besides; ``tracked_slot`` of them has the state of its first ``tracked``
    tokens, put aside last; ``branching`` is where its match found that a state was missing.

    ``granted``: tokens that the next forward pass brings it to, where the scheduler's budget has
    admitted it to that pass; 0: it has not. ``put_off``: its next chunk did not fit the budget.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    prompt_len: int
    committed: int
    protected: int
    swa_evicted: int
    last_node: int
    priority: int
    row: Slots
    state_slot: int | None = None
    state_source: int | None = None
    zero_state: bool = False
    granted: int = 0
    put_off: bool = False
    tracking_slots: Slots = ()
    tracked: int | None = None
    tracked_slot: int | None = None
    branching: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A request that waits: its device prefix, up to ``last_node``, is locked; it has no row.

    ``best_match``: tokens that its match found usable from device and host together.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    last_node: int
    best_match: int


@dataclass(frozen=True, slots=True)
class Session:
    """An open session, and what it holds from the end of one turn to the admission of the next.

    ``row[i]`` is the FULL slot of ``tokens[i]``; the KV of the first ``committed`` is computed, and
    the first ``protected`` slots are the tree's, locked up to ``last_node``. While a turn runs, and
    before the first one did, it holds nothing: no tokens, an empty row, the root.
    """

    name: str
    namespace: str
    history: tuple[int, ...]
    """Prompt and output of the last turn that finished; the next turn goes on from it."""
    turn: str
    """Name of the request in flight, running or waiting; '': none."""
    publishes: bool
    """The turn that runs found nothing held, so its prompt goes into the tree."""
    closing: bool
    rejected: tuple[str, ...] = ()
    """Names of the requests that were made of turns which were not accepted, and have not ended."""
    tokens: tuple[int, ...] = ()
    committed: int = 0
    protected: int = 0
    swa_evicted: int = 0
    last_node: int = ROOT
    row: Slots = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """See the module docstring. Mappings by component or pool have the configuration's keys."""

    config: CacheConfig
    nodes: tuple[Node, ...]
    device_leaves: tuple[int, ...]
    """Indices, ascending."""
    host_leaves: tuple[int, ...]
    access_order: tuple[int, ...]
    """All nodes, most recently accessed first (``last_access_time``)."""
    creation_rank: tuple[int, ...]
    """Per node, the dense rank of its creation time; a split's two parts share one."""
    lru: Mapping[str, tuple[int, ...]]
    """Per auxiliary component, its device list, most recent first (I-18)."""
    host_lru: Mapping[str, tuple[int, ...]]
    evictable: Mapping[str, int]
    protected: Mapping[str, int]
    pools: Mapping[str, Pool]
    full_to_swa: tuple[int, ...]
    """Indexed by FULL slot; 0: no SWA data. Empty without SWA."""
    writes: tuple[Transfer, ...]
    loads: tuple[Transfer, ...]
    receipts: tuple[Receipt, ...]
    """Sorted by ``receipt_order``."""
    requests: tuple[Request, ...]
    """Sorted by name."""
    armed_failures: Mapping[str, int]
    """Per pool with at least one armed allocation failure, how many."""
    options: frozenset[str] = frozenset()
    """Names of the options of the specification that the subject follows (model/options.py)."""
    candidates: tuple[Candidate, ...] = ()
    """Sorted by name."""
    events: tuple[Event, ...] = ()
    """KV events of the operation that led to this state; of the construction, in a new cache."""
    sessions: tuple[Session, ...] = ()
    """Sorted by name."""
    storage: StorageState | None = None
    """The storage tier; ``None``: there is none."""

    def canonical(self) -> dict[str, Any]:
        """The state with slots and ids renamed away: equal iff two subjects agree."""
        return _Canonical(self).fields()


def receipt_order(receipt: Receipt) -> tuple[Any, ...]:
    """Sort key of receipts: transfers of one kind differ by anchor and extent alone."""
    starts = tuple(-1 if s is None else s for s in (receipt.full_start, receipt.swa_start))
    return (receipt.tier, receipt.owner, receipt.name, receipt.anchor, *starts, receipt.state)


def agree(left: Snapshot, right: Snapshot) -> bool:
    """Whether two subjects are in the same state, up to slot numbers and ids."""
    return left == right or left.canonical() == right.canonical()


def disagreements(left: Snapshot, right: Snapshot) -> list[str]:
    """One line per field in which two states differ; empty iff ``agree``."""
    a, b = left.canonical(), right.canonical()
    return [f"{name}: {a[name]!r} != {b[name]!r}" for name in a if a[name] != b[name]]


_COMPARED_AS_THEY_ARE = (
    "device_leaves",
    "host_leaves",
    "access_order",
    "creation_rank",
    "lru",
    "host_lru",
    "evictable",
    "protected",
    "receipts",
    "armed_failures",
    "candidates",
    "events",
)


class _Canonical:
    """Renames each pool's pages in the order in which the canonical walk meets them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.pages: dict[str, dict[int, int]] = {pool: {} for pool in snapshot.pools}
        self.unwritten = _unwritten(snapshot)

    def rename(self, pool: str, slots: Slots) -> Slots:
        names, page = self.pages[pool], self.snapshot.pools[pool].page_size
        return tuple(names.setdefault(s // page, len(names)) * page + s % page for s in slots)

    def held(self, pool: str, slots: Slots | None) -> tuple[Any, ...] | None:
        """Renamed slots with what lies in them; bytes of a copy yet to run do not count."""
        if slots is None:
            return None
        contents, unwritten = self.snapshot.pools[pool].contents, self.unwritten[pool]
        found = tuple(
            None if s in unwritten else contents[s] if 0 <= s < len(contents) else -2 for s in slots
        )
        return (self.rename(pool, slots), found)

    def placement(self, component: str, p: Placement | None) -> tuple[Any, ...] | None:
        if p is None:
            return None
        host = self.held(f"host_{component}", p.host) if p.host is not None else None
        return (self.held(component, p.device), host, p.lock, p.host_lock)

    def fields(self) -> dict[str, Any]:
        s = self.snapshot
        acks = {t.id: i for i, t in enumerate(s.writes)}
        nodes = [
            (
                (n.namespace, n.tokens, n.key, n.label, n.parent, n.parent_pointer),
                (n.hit, n.priority, None if n.pending is None else acks.get(n.pending, -1)),
                self.placement("full", n.full),
                self.placement("swa", n.swa),
                self.placement("mamba", n.mamba),
            )
            for n in s.nodes
        ]
        requests = [self.request(r) for r in s.requests]
        transfers = [
            (t.stream, t.node, t.nodes, t.stage, t.batch, [self.move(m) for m in t.moves])
            for t in s.writes + s.loads
        ]
        # Every owned FULL page has its canonical name by now, so the map can be renamed too.
        mapped = sorted(
            (self.rename("full", (x,)), self.rename("swa", (y,)))
            for x, y in enumerate(s.full_to_swa)
            if y
        )
        return {
            "nodes": nodes,
            "requests": requests,
            "transfers": transfers,
            "sessions": [self.session(x) for x in s.sessions],
            "full_to_swa": mapped,
            "free": {name: len(pool.free_pages) for name, pool in s.pools.items()},
            "storage": self.storage(s.storage),
            **{name: getattr(s, name) for name in _COMPARED_AS_THEY_ARE},
        }

    def request(self, r: Request) -> tuple[Any, ...]:
        row = self.rename("full", r.row)
        written = self.held("full", r.row[: r.committed])
        window = self.snapshot.full_to_swa
        swa = self.held("swa", tuple(window[x] for x in r.row if window[x])) if window else None
        plain = (r.name, r.namespace, r.tokens, r.prompt_len, r.committed, r.protected)
        kv = (row, written, swa and swa[0])
        more = (r.swa_evicted, r.last_node, r.priority, r.granted, r.put_off)
        return (*plain, *more, *kv, *self.state(r))

    def session(self, s: Session) -> tuple[Any, ...]:
        plain = (s.name, s.namespace, s.history, s.turn, s.publishes, s.closing, s.rejected)
        held = (s.tokens, s.committed, s.protected, s.swa_evicted, s.last_node)
        return (*plain, *held, self.rename("full", s.row), self.held("full", s.row[: s.committed]))

    def state(self, r: Request) -> tuple[Any, ...]:
        """What lies in a state slot counts once the request has filled it."""
        if not r.tracking_slots:
            return self.own_state(r)
        kept = None if r.tracked_slot is None else (r.tracked_slot,)
        tracking = (len(r.tracking_slots), r.tracked, self.held("mamba", kept))
        return (*self.own_state(r), tracking)

    def own_state(self, r: Request) -> tuple[Any, ...]:
        if r.state_slot is None:
            return (None,)
        own = (r.state_slot,)
        if r.zero_state:
            return (self.rename("mamba", own), "zero")
        if r.state_source is not None:
            return (self.rename("mamba", own), "copy", self.held("mamba", (r.state_source,)))
        return (self.held("mamba", own),)

    def storage(self, found: StorageState | None) -> tuple[Any, ...] | None:
        """Host slots renamed; what a worker does next, and what is stored, as it is."""
        if found is None:
            return None
        prefetches = [
            (p.request, p.tokens, p.start, p.anchor, p.completed, p.terminated, self.hosts(p.slots))
            for p in found.prefetches
        ]
        backups = [(b.node, b.hashes, self.hosts(b.slots)) for b in found.backups]
        releasing = {c: len(slots) for c, slots in found.releasing.items()}
        rest = (found.occupied, found.capacity, found.clock, found.work, found.pages)
        return (prefetches, backups, releasing, *rest)

    def hosts(self, slots: Mapping[str, Slots]) -> dict[str, Slots]:
        return {c: self.rename(f"host_{c}", held) for c, held in slots.items()}

    def move(self, m: Move) -> tuple[Any, ...]:
        host = f"host_{m.component}"
        return (m.component, self.rename(m.component, m.device), self.rename(host, m.host))


def _unwritten(s: Snapshot) -> dict[str, set[int]]:
    """Per pool, the slots that a copy yet to run will write."""
    slots: dict[str, set[int]] = {pool: set() for pool in s.pools}
    for transfer in s.writes + s.loads:
        if transfer.stage == "executed":
            continue
        for m in transfer.moves:
            if transfer.stream == "write":
                slots[f"host_{m.component}"].update(m.host)
            else:
                slots[m.component].update(m.device)
    return slots
