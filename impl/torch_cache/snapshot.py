"""What the cache shows of itself: the only code that reads its private state from outside."""

from __future__ import annotations

from torch import Tensor

from radixproof.impl.torch_cache.admission import Candidate as LiveCandidate
from radixproof.impl.torch_cache.admission import Request as LiveRequest
from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Label, Value
from radixproof.impl.torch_cache.node import Node as RadixNode
from radixproof.impl.torch_cache.node import Receipt as LiveReceipt
from radixproof.impl.torch_cache.node import Transfer as LiveTransfer
from radixproof.model.operations import LOAD, WRITE
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
    Slots,
    Snapshot,
    Transfer,
    receipt_order,
)

_EMPTY = Placement()
_Pending = tuple[RadixNode, int, tuple[int, ...], Label]
"""A node yet to be visited: itself, its parent's index and prefix, the label that holds it."""


class Observer:
    """One look at a cache; changes nothing."""

    def __init__(self, cache: TorchCache) -> None:
        self.cache = cache
        self.order: list[RadixNode] = []
        self.labels: list[Label] = []
        self.spelled: list[tuple[int, ...]] = []
        self.parents: list[int] = []
        self._walk()
        self.index = {node: i for i, node in enumerate(self.order)}
        self.index[cache.root] = ROOT

    def _walk(self) -> None:
        """Depth first, siblings by (namespace, key); children as their parents hold them."""
        pending: list[_Pending] = []
        self._push(pending, self.cache.root, ROOT, ())
        while pending:
            node, parent, prefix, label = pending.pop()
            spelled = prefix + node.key
            index = len(self.order)
            self.order.append(node)
            self.labels.append(label)
            self.spelled.append(spelled)
            self.parents.append(parent)
            self._push(pending, node, index, spelled)

    @staticmethod
    def _push(
        pending: list[_Pending],
        node: RadixNode,
        index: int,
        spelled: tuple[int, ...],
    ) -> None:
        below = sorted(node.children.items(), reverse=True)
        pending.extend((child, index, spelled, label) for label, child in below)

    def of(self, node: RadixNode | None) -> int:
        return DETACHED if node is None else self.index.get(node, DETACHED)

    def snapshot(self) -> Snapshot:
        cache, order = self.cache, self.order
        accessed = sorted(order, key=lambda n: n.accessed, reverse=True)
        ranks = {c: i for i, c in enumerate(sorted({n.created for n in order}))}
        return Snapshot(
            config=cache.config,
            nodes=tuple(self.node(i, n) for i, n in enumerate(order)),
            device_leaves=tuple(sorted(map(self.of, cache.device_leaves))),
            host_leaves=tuple(sorted(map(self.of, cache.host_leaves))),
            access_order=tuple(map(self.of, accessed)),
            creation_rank=tuple(ranks[n.created] for n in order),
            lru={c: tuple(map(self.of, order)) for c, order in cache.device_lists.items()},
            host_lru={c: tuple(map(self.of, order)) for c, order in cache.host_lists.items()},
            evictable=dict(cache.evictable),
            protected=dict(cache.protected),
            pools={name: self.pool(name) for name in cache.config.pools},
            full_to_swa=tuple(cache.memory.full_to_swa.tolist()),
            writes=self.submitted(WRITE),
            loads=self.submitted(LOAD) + self.queued(),
            receipts=tuple(sorted(map(self.receipt, cache.receipts), key=receipt_order)),
            requests=tuple(self.request(r) for _, r in sorted(cache.requests.items())),
            armed_failures={
                name: a.armed for name, a in cache.memory.allocators.items() if a.armed
            },
            events=tuple(cache.events),
            candidates=tuple(self.candidate(c) for _, c in sorted(cache.candidates.items())),
        )

    def node(self, index: int, node: RadixNode) -> Node:
        return Node(
            namespace=node.namespace,
            tokens=self.spelled[index],
            key=node.key,
            label=self.labels[index][1],
            parent=self.parents[index],
            parent_pointer=self.of(node.parent),
            id=node.id,
            full=_placement(node.full),
            swa=_placement(node.swa) if self.cache.has_swa else None,
            mamba=_placement(node.mamba) if self.cache.has_mamba else None,
            hit=node.hit,
            priority=node.priority,
            pending=node.pending,
        )

    def pool(self, name: str) -> Pool:
        allocator = self.cache.memory.allocators[name]
        return Pool(
            slots=allocator.slots,
            page_size=allocator.page_size,
            first_slot=allocator.first_slot,
            free_pages=tuple(allocator.pages),
            contents=tuple(self.cache.memory.pools[name].read()),
        )

    def submitted(self, stream: str) -> tuple[Transfer, ...]:
        return tuple(
            self.transfer(stream, t, "executed" if s.executed else "submitted", batch)
            for batch, s in enumerate(self.cache.queues.of(stream))
            for t in s.transfers
        )

    def queued(self) -> tuple[Transfer, ...]:
        return tuple(self.transfer(LOAD, t, "queued", -1) for t in self.cache.queues.load_queue)

    def transfer(self, stream: str, t: LiveTransfer, stage: str, batch: int) -> Transfer:
        covered = tuple(sorted(map(self.of, t.nodes)))
        moves = tuple(
            Move(c.component, tuple(c.device.tolist()), tuple(c.host.tolist())) for c in t.copies
        )
        return Transfer(stream, t.id, self.of(t.node), covered, stage, batch, moves)

    def receipt(self, r: LiveReceipt) -> Receipt:
        """A device lock's FULL segment reaches the root: it starts at token 0."""
        full = r.full_top.start if r.full_top is not None else None
        swa = r.swa_top.start if r.swa_top is not None else None
        return Receipt(r.tier, r.owner, r.name, self.of(r.anchor), full, swa, r.state)

    def candidate(self, c: LiveCandidate) -> Candidate:
        last_node = self.of(c.device)
        return Candidate(c.name, c.namespace, c.tokens, c.priority, last_node, c.best_end)

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
            row=_slots(self.cache.req_to_token.read(r.row, 0, r.allocated)) or (),
            state_slot=_slot(r.state),
            state_source=None if r.state_source is None else _slot(r.state_source),
            zero_state=r.zero_state,
        )


def _placement(value: Value) -> Placement:
    if value.device is None and value.host is None and not value.lock and not value.host_lock:
        return _EMPTY
    return Placement(_slots(value.device), _slots(value.host), value.lock, value.host_lock)


def _slot(slots: Tensor) -> int | None:
    return int(slots[0]) if len(slots) else None


def _slots(slots: Tensor | None) -> Slots | None:
    return None if slots is None else tuple(slots.tolist())
