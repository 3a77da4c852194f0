"""What the specified cache shows of itself (model/snapshot.py says what each field means)."""

from __future__ import annotations

from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.snapshot import (
    DETACHED,
    ROOT,
    Candidate,
    Move,
    Node,
    Placement,
    Pool,
    Receipt,
    Request,
    Snapshot,
    Transfer,
    receipt_order,
)
from radixproof.model.state import DEVICE, HOST, State
from radixproof.model.state import Candidate as LiveCandidate
from radixproof.model.state import Receipt as LiveReceipt
from radixproof.model.state import Request as LiveRequest
from radixproof.model.state import Transfer as LiveTransfer
from radixproof.model.tree import Page


class Observation:
    """One look at a state: the nodes in canonical order, and everything else by index."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.tree = state.tree
        self.order = self.tree.nodes()
        self.index = {node: i for i, node in enumerate(self.order)}
        self.index[self.tree.root] = ROOT

    def of(self, page: Page) -> int:
        return self.index.get(page, DETACHED)

    def snapshot(self) -> Snapshot:
        state, order = self.state, self.order
        nodes = tuple(self.node(n) for n in order)
        accessed = sorted(order, key=lambda n: n.node.accessed, reverse=True)
        ranks = {c: i for i, c in enumerate(sorted({n.node.created for n in order}))}
        return Snapshot(
            config=state.config,
            nodes=nodes,
            device_leaves=tuple(i for i, n in enumerate(order) if state.is_device_leaf(n)),
            host_leaves=tuple(i for i, n in enumerate(order) if state.is_host_leaf(n)),
            access_order=tuple(map(self.of, accessed)),
            creation_rank=tuple(ranks[n.node.created] for n in order),
            lru={c: tuple(map(self.of, state.device_list(c))) for c in state.config.auxiliary},
            host_lru={c: tuple(map(self.of, state.host_list(c))) for c in state.config.auxiliary},
            evictable=self.sizes(nodes, locked=False),
            protected=self.sizes(nodes, locked=True),
            pools={pool: self.pool(pool) for pool in state.config.pools},
            full_to_swa=tuple(state.memory.full_to_swa),
            writes=self.writes(),
            loads=self.loads(),
            receipts=tuple(sorted(map(self.receipt, state.receipts), key=receipt_order)),
            requests=tuple(self.request(r) for _, r in sorted(state.requests.items())),
            armed_failures={p: n for p, n in state.memory.armed.items() if n},
            events=tuple(state.events),
            candidates=tuple(self.candidate(c) for _, c in sorted(state.candidates.items())),
        )

    def node(self, page: Page) -> Node:
        above = self.tree.parent(page)
        start, size = len(above.tokens), self.tree.page_size
        return Node(
            namespace=page.namespace,
            tokens=page.tokens,
            key=page.tokens[start:],
            label=page.tokens[start : start + size],
            parent=self.of(above),
            parent_pointer=self.of(above),
            id=page.node.id,
            full=self.placement(page, FULL),
            swa=self.placement(page, SWA) if self.state.config.has_swa else None,
            mamba=self.placement(page, MAMBA) if self.state.config.has_mamba else None,
            hit=page.node.hit,
            priority=page.node.priority,
            pending=page.node.pending,
        )

    def placement(self, page: Page, component: str) -> Placement:
        return Placement(
            device=self.tree.held(page, component),
            host=self.tree.held(page, f"host_{component}"),
            lock=self.state.lock_count(page, component, DEVICE),
            host_lock=self.state.lock_count(page, component, HOST),
        )

    def sizes(self, nodes: tuple[Node, ...], locked: bool) -> dict[str, int]:
        """``evictable`` and ``protected`` (2): device tokens with lock count 0, and above 0."""
        sizes = dict.fromkeys(self.state.config.components, 0)
        for n in nodes:
            for component in sizes:
                p = n.placement(component)
                if p is not None and p.device is not None and (p.lock > 0) == locked:
                    sizes[component] += len(p.device)
        return sizes

    def pool(self, name: str) -> Pool:
        memory = self.state.memory
        return Pool(
            slots=self.state.config.pool_slots(name),
            page_size=memory.page_size,
            first_slot=memory.first_slot(name),
            free_pages=tuple(memory.free_pages[name]),
            contents=tuple(memory.contents[name]),
        )

    def writes(self) -> tuple[Transfer, ...]:
        return tuple(
            self.transfer("write", t, "executed" if s.executed else "submitted", batch)
            for batch, s in enumerate(self.state.writes)
            for t in s.transfers
        )

    def loads(self) -> tuple[Transfer, ...]:
        submitted = [
            self.transfer("load", t, "executed" if s.executed else "submitted", batch)
            for batch, s in enumerate(self.state.loads)
            for t in s.transfers
        ]
        queued = [self.transfer("load", t, "queued", -1) for t in self.state.load_queue]
        return tuple(submitted + queued)

    def transfer(self, stream: str, t: LiveTransfer, stage: str, batch: int) -> Transfer:
        covered = {self.of(self.tree.end_of(page)) for page in t.pages}
        moves = tuple(Move(c, device, host) for c, (device, host) in t.moves.items() if device)
        return Transfer(
            stream, t.id, self.of(t.target), tuple(sorted(covered)), stage, batch, moves
        )

    def receipt(self, r: LiveReceipt) -> Receipt:
        anchor = self.of(r.anchor)
        return Receipt(r.tier, r.owner, r.name, anchor, r.full_start, r.swa_start, r.state)

    def candidate(self, c: LiveCandidate) -> Candidate:
        last_node = self.of(c.last_node)
        return Candidate(c.name, c.namespace, c.tokens, c.priority, last_node, c.best_match)

    def request(self, r: LiveRequest) -> Request:
        return Request(
            name=r.name,
            namespace=r.namespace,
            tokens=r.tokens,
            prompt_len=r.prompt_len,
            committed=r.committed,
            protected=r.protected,
            swa_evicted=r.swa_evicted,
            last_node=self.of(r.last_node),
            priority=r.priority,
            row=tuple(r.row),
            state_slot=r.state_slot,
            state_source=r.state_source,
            zero_state=r.zero_state,
        )
