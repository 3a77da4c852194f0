"""What a release shows of its state: the only code that reads it from outside.

The tree is read by a look of its own for each kind of core (tree.py), memory by memory.py; both
are put together here, with the transfers and requests that refer to nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from radixproof.impl.sglang import fields, session_records
from radixproof.impl.sglang.cache import SglangCache
from radixproof.impl.sglang.device import Event
from radixproof.impl.sglang.memory import Memory
from radixproof.impl.sglang.python_tree import PythonTree
from radixproof.impl.sglang.queue import Waiting
from radixproof.impl.sglang.receipts import receipts
from radixproof.impl.sglang.running import Running
from radixproof.impl.sglang.rust_tree import RustTree
from radixproof.impl.sglang.sessions import Ledger
from radixproof.impl.sglang.storage_state import storage_state
from radixproof.impl.sglang.tree import Tree
from radixproof.model.config import MAMBA
from radixproof.model.operations import LOAD, WRITE
from radixproof.model.snapshot import (
    ROOT,
    Candidate,
    Move,
    Request,
    Session,
    Snapshot,
    Transfer,
    receipt_order,
)
from radixproof.model.storage import StorageState


class Observer:
    """One look at a cache."""

    def __init__(self, cache: SglangCache) -> None:
        self.cache = cache
        self.built = cache.built
        self.config = cache.config
        self.memory = Memory(cache)
        self.tree: Tree = RustTree(cache) if self.built.has_rust_core else PythonTree(cache)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            config=self.config,
            nodes=self.tree.nodes(),
            **self.tree.tracking(),
            pools={name: self.memory.pool(name) for name in self.config.pools},
            full_to_swa=self.memory.map(),
            writes=tuple(self.on(WRITE)),
            loads=tuple(self.on(LOAD)),
            receipts=tuple(sorted(receipts(self.cache, self.tree), key=receipt_order)),
            requests=tuple(self.request(r) for _, r in sorted(self.cache.requests.items())),
            candidates=tuple(
                self.candidate(w) for _, w in sorted(self.cache.queue.waiting.items())
            ),
            armed_failures={},
            events=self.cache.kv_events.last,
            sessions=tuple(self.session(x) for _, x in sorted(self.cache.sessions.open.items())),
            options=self.built.options,
            storage=self.storage(),
        )

    def storage(self) -> StorageState | None:
        tier = self.cache.storage
        return None if tier is None else storage_state(self.cache, self.tree, tier)

    # Transfers

    def on(self, stream: str) -> Iterator[Transfer]:
        """Transfers of one stream, oldest first."""
        queued, acks = self.built.queues(stream)
        for batch, ack in enumerate(acks):
            yield from self.submitted(stream, batch, ack)
        for operation in queued:
            for id in operation.node_ids:
                yield self.transfer(stream, id, "queued", -1)

    def submitted(self, stream: str, batch: int, ack: Any) -> Iterator[Transfer]:
        event: Event = ack.finish_event
        stage = "executed" if event.done else "submitted"
        for id in ack.node_ids:
            yield self.transfer(stream, id, stage, batch)

    def transfer(self, stream: str, id: int, stage: str, batch: int) -> Transfer:
        moves = self.cache.copies.transfers.of(stream, id)
        nodes = self.covered(stream, id, moves)
        moves = tuple(self.in_token_order(m, nodes) for m in moves)
        return Transfer(stream, id, self.tree.of(id), nodes, stage, batch, moves)

    def in_token_order(self, move: Move, nodes: tuple[int, ...]) -> Move:
        """A copy sorts its slots by address; nodes list them by token. A state is one slot."""
        if move.component == MAMBA:
            return move
        parts = (self.tree.device(i, move.component) for i in nodes if i >= 0)
        held = tuple(slot for part in parts if part is not None for slot in part)
        pairs = dict(zip(move.device, move.host, strict=True))
        if held == move.device or set(held) != set(pairs):
            return move
        return Move(move.component, held, tuple(pairs[slot] for slot in held))

    def covered(self, stream: str, id: int, moves: tuple[Move, ...]) -> tuple[int, ...]:
        """The publish nodes of a write; of a load, the nodes on the path that got its slots."""
        tree = self.tree
        if stream == WRITE:
            entry = self.cache.tree.ongoing_write_through.get(id)
            nodes = entry[2] if entry is not None and len(entry) > 2 else [id]
            return tuple(sorted(tree.of(n) for n in nodes))
        got = {(m.component, slot) for m in moves for slot in m.device}
        found, index = [], tree.of(id)
        while index >= 0:
            for component in self.config.components:
                if component == MAMBA and index != tree.of(id):
                    continue  # the slot that a request got may be any other node's by now
                value = tree.device(index, component)
                if value and (component, value[0]) in got:
                    found.append(index)
                    break
            index = tree.parents[index]
        return tuple(sorted(found))

    # Requests

    def candidate(self, waiting: Waiting) -> Candidate:
        """A request that waits, which holds no node."""
        r = waiting.running
        return Candidate(r.name, r.namespace, r.tokens, r.priority, ROOT, waiting.found)

    def request(self, running: Running) -> Request:
        lifecycle = self.cache.lifecycle
        tracked = lifecycle.tracking.tracked(running.req)
        return Request(
            name=running.name,
            namespace=running.namespace,
            tokens=running.tokens,
            prompt_len=running.prompt_len,
            committed=running.committed,
            protected=fields.protected(running.req),
            swa_evicted=fields.swa_evicted(self.cache.built, running.req),
            last_node=self.tree.of(session_records.anchor(self.cache.built, running)),
            priority=running.priority,
            row=self.memory.row(running),
            state_slot=lifecycle.states.slot(running.req),
            state_source=lifecycle.states.source(running.req),
            zero_state=lifecycle.states.starts_from_zeros(running.req),
            granted=self.cache.budget.granted(running),
            put_off=running is self.cache.budget.put_off,
            tracking_slots=lifecycle.tracking.slots(running.req),
            tracked=tracked[0] if tracked else None,
            tracked_slot=tracked[1] if tracked else None,
            branching=lifecycle.tracking.branching(running.req),
        )

    # Sessions

    def session(self, ledger: Ledger) -> Session:
        """While a turn runs, what its session keeps for it is shown as the turn's."""
        sessions = self.cache.sessions
        told = Session(
            ledger.name,
            ledger.namespace,
            ledger.history,
            ledger.turn,
            ledger.publishes,
            ledger.closing,
            ledger.rejected,
        )
        if not sessions.holds(ledger.name):
            return told
        slot = sessions.slot(ledger.name)
        return replace(
            told,
            tokens=ledger.kept,
            committed=int(fields.held(slot, "kv_committed_len")),
            protected=fields.protected(slot),
            swa_evicted=fields.swa_evicted(self.cache.built, slot),
            last_node=self.tree.of(session_records.anchor_of_slot(self.cache.release, slot)),
            row=self.memory.row_of(slot),
        )
