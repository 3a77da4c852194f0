"""The state of the specified cache, and what is derived from it (domain.md 2, 4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from radixproof.model.alternatives import THE_RULES, Rules
from radixproof.model.blocks import Event
from radixproof.model.config import COMPONENTS, FULL, MAMBA, SWA, CacheConfig
from radixproof.model.memory import Memory
from radixproof.model.tree import Page, Slots, Tree

DEVICE = "device"
HOST = "host"


@dataclass(slots=True, eq=False)
class Receipt:
    """A live lock. It covers tokens, not nodes: splits cannot disturb it (5.7, 5.8).

    On the path of ``anchor``, FULL from token ``full_start`` on and SWA from ``swa_start`` on;
    ``None`` covers nothing. ``state``: the MAMBA state of the anchor itself.
    """

    tier: str
    owner: str
    name: str
    anchor: Page
    full_start: int | None
    swa_start: int | None
    state: bool


@dataclass(slots=True, eq=False)
class Transfer:
    """A copy between tiers, from enqueue to acknowledgement (8.1)."""

    id: int
    target: Page
    moves: dict[str, tuple[Slots, Slots]]
    """Component -> (device slots, host slots), captured at enqueue."""
    pages: list[Page]
    """The pages that get or give data."""
    receipts: list[Receipt]


@dataclass(slots=True)
class Submission:
    """What one entry of an ack queue stands for; it executes as a whole."""

    transfers: list[Transfer]
    executed: bool = False


@dataclass(slots=True)
class Request:
    """A running request (4.4); ``row[i]`` is the FULL slot of token ``i``.

    With MAMBA it has a state slot of its own. Before its first forward pass that slot is filled by
    a load, or to be copied from ``state_source`` (a slot of the tree), or to be zeroed.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    prompt_len: int
    row: list[int]
    last_node: Page
    receipt: Receipt
    protected: int
    committed: int
    swa_evicted: int = 0
    state_slot: int | None = None
    state_source: int | None = None
    zero_state: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A request that waits: matched, its device prefix locked, not yet admitted.

    ``best_match``: tokens that were usable from device and host together when it was matched.
    """

    name: str
    namespace: str
    tokens: tuple[int, ...]
    priority: int
    last_node: Page
    receipt: Receipt
    best_match: int


@dataclass(slots=True)
class State:
    """Everything the cache remembers. Leaf sets, sizes and lock counts are derived, not kept."""

    config: CacheConfig
    tree: Tree
    memory: Memory
    receipts: list[Receipt] = field(default_factory=list)
    writes: list[Submission] = field(default_factory=list)
    load_queue: list[Transfer] = field(default_factory=list)
    loads: list[Submission] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    """Of the operation that led here."""
    rules: Rules = THE_RULES
    tally: Counter[str] = field(default_factory=Counter)
    """What the comparison of alternatives counts; no rule reads it."""
    _counts: dict[tuple[str, str], Counter[Page]] = field(default_factory=dict)

    @classmethod
    def empty(cls, config: CacheConfig, rules: Rules = THE_RULES) -> State:
        return cls(config, Tree(config.page_size), Memory(config), rules=rules)

    # Locks are sums over live receipts (I-11)

    def lock_count(self, node: Page, component: str, tier: str) -> int:
        """``n.c.lock`` or ``n.c.hlock``: the live receipts that cover the node."""
        if not self._counts:
            self._counts = self._count_locks()
        return self._counts[component, tier][node]

    def receipts_changed(self) -> None:
        self._counts = {}

    def _count_locks(self) -> dict[tuple[str, str], Counter[Page]]:
        counts = {(c, t): Counter[Page]() for c in COMPONENTS for t in (DEVICE, HOST)}
        size = self.config.page_size
        for receipt in self.receipts:
            for component, start in ((FULL, receipt.full_start), (SWA, receipt.swa_start)):
                page = receipt.anchor
                while start is not None and page.above is not None:
                    if len(page.tokens) - size < start:
                        break
                    counts[component, receipt.tier][page] += 1
                    page = page.above
            if receipt.state:
                counts[MAMBA, receipt.tier][receipt.anchor] += 1
        return counts

    def locked(self, node: Page, tier: str) -> bool:
        """Some component of the node is locked on a tier."""
        return any(self.lock_count(node, c, tier) for c in self.config.components)

    # Leaves (2)

    def is_device_leaf(self, node: Page) -> bool:
        """Device-resident, unlocked, and no child is device-resident."""
        return (
            node is not self.tree.root
            and FULL in node.held
            and not any(FULL in child.held for child in node.below.values())
            and not self.locked(node, DEVICE)
        )

    def is_host_leaf(self, node: Page) -> bool:
        """Evicted and backed up, no children at all, unlocked on both tiers."""
        return (
            node is not self.tree.root
            and FULL not in node.held
            and "host_full" in node.held
            and not node.below
            and not self.locked(node, DEVICE)
            and not self.locked(node, HOST)
        )

    # Recency lists hold exactly the nodes with data to evict (I-18, I-19)

    def device_list(self, component: str) -> list[Page]:
        """Nodes with data of an auxiliary component on device, most recent first."""
        nodes = [n for n in self.tree.members if component in n.held]
        return sorted(nodes, key=lambda n: _recency(n, component))

    def host_list(self, component: str) -> list[Page]:
        """Nodes whose data of it is on host only and not host-locked, most recent first."""
        pool = f"host_{component}"
        nodes = [
            n
            for n in self.tree.members
            if component not in n.held
            and pool in n.held
            and not self.lock_count(n, component, HOST)
        ]
        return sorted(nodes, key=lambda n: _recency(n, pool))


def _recency(node: Page, pool: str) -> tuple[int, int]:
    """The most recent sorts first; of the parts of one node the lowest (5.4)."""
    return -node.node.recency[pool], -len(node.tokens)
