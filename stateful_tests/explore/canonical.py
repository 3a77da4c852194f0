"""When two states are one: the form of a state with everything interchangeable renamed away.

Interchangeable are tokens, slots, holders, requests and ids. Clocks count only by the orders that
they give, and access times only between nodes of which neither is above the other: victims are
leaves, so no other pair is ever compared. What no rule reads is left out: ages, and hits beyond
the threshold. So are payloads, lock counts, sizes and leaf sets: the invariants, checked on the
way into the state, say what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import permutations
from marshal import dumps
from typing import Any

from radixproof.model.snapshot import (
    Candidate,
    Move,
    Node,
    Placement,
    Request,
    Slots,
    Snapshot,
    Transfer,
)

DIGEST_SIZE = 16
"""Bytes; states are told apart by digest (docs/explore.md says how likely an error is)."""

Tokens = tuple[int, ...]
Form = tuple[Any, ...]


def digest(snapshot: Snapshot) -> bytes:
    """Sixteen bytes that stand for the state; the same in every process."""
    return blake2b(dumps(form(snapshot), 2), digest_size=DIGEST_SIZE).digest()


def form(snapshot: Snapshot) -> Form:
    """The canonical form: the least under the renamings of tokens and of requests."""
    forms = [
        _Renaming(snapshot, tokens, requests).form()
        for tokens in _token_names(snapshot)
        for requests in permutations(known_requests(snapshot))
    ]
    return forms[0] if len(forms) == 1 else min(forms, key=lambda f: dumps(f, 2))


def _token_names(snapshot: Snapshot) -> Iterator[Mapping[int, int]]:
    """Tokens are named as they come in the recency lists, whose orders no renaming changes.

    Those that are in no list may be named either way: the least form decides.
    """
    nodes = snapshot.nodes
    lists = (*snapshot.lru.values(), *snapshot.host_lru.values())
    listed = dict.fromkeys(t for order in lists for i in order for t in nodes[i].tokens)
    used = {t for n in nodes for t in n.tokens}
    used |= {t for r in snapshot.requests for t in r.tokens}
    used |= {t for c in snapshot.candidates for t in c.tokens}
    for rest in permutations(sorted(used - set(listed))):
        yield {token: name for name, token in enumerate((*listed, *rest))}


def known_requests(snapshot: Snapshot) -> list[str]:
    """Names of the requests that run or wait."""
    return [r.name for r in snapshot.requests] + [c.name for c in snapshot.candidates]


class _Renaming:
    """One choice of names, carried through the whole state."""

    def __init__(
        self, snapshot: Snapshot, tokens: Mapping[int, int], requests: tuple[str, ...]
    ) -> None:
        self.snapshot = snapshot
        self.tokens = tokens
        self.names = {name: i for i, name in enumerate(requests)}
        spelled = [(n.namespace, self.spell(n.tokens)) for n in snapshot.nodes]
        self.order = sorted(range(len(spelled)), key=spelled.__getitem__)
        self.index = {old: new for new, old in enumerate(self.order)}
        self.index[-1] = -1
        self.slots: dict[str, dict[int, int]] = {pool: {} for pool in snapshot.pools}
        self.acks = {t.id: i for i, t in enumerate(snapshot.writes)}

    def spell(self, tokens: Iterable[int]) -> Tokens:
        return tuple(self.tokens[t] for t in tokens)

    def nodes(self, indices: Iterable[int]) -> Tokens:
        return tuple(self.index[i] for i in indices)

    def held(self, pool: str, slots: Slots | None) -> Slots | None:
        """Slots by the order in which the walk meets their pages."""
        if slots is None:
            return None
        names, size = self.slots[pool], self.snapshot.config.page_size
        return tuple(names.setdefault(s // size, len(names)) * size + s % size for s in slots)

    def form(self) -> Form:
        s = self.snapshot
        return (
            tuple(self.node(i) for i in self.order),
            tuple(sorted(self.accessed())),
            tuple(self.nodes(order) for order in s.lru.values()),
            tuple(self.nodes(order) for order in s.host_lru.values()),
            tuple(sorted(map(self.candidate, s.candidates))),
            tuple(map(self.request, sorted(s.requests, key=lambda r: self.names[r.name]))),
            tuple(self.transfer(t) for t in (*s.writes, *s.loads)),
            tuple(sorted(self.receipts())),
            self.mapped(),
            tuple(sorted(s.armed_failures.items())),
        )

    def node(self, i: int) -> Form:
        n = self.snapshot.nodes[i]
        return (
            n.namespace,
            self.index[n.parent],
            self.spell(n.key),
            min(n.hit, self.snapshot.config.write_through_threshold),
            n.priority,
            -1 if n.pending is None else self.acks.get(n.pending, -2),
            self.placement("full", n.full),
            self.placement("swa", n.swa),
            self.placement("mamba", n.mamba),
        )

    def placement(self, component: str, p: Placement | None) -> Form | None:
        if p is None:
            return None
        host = self.held(f"host_{component}", p.host) if p.host is not None else None
        return (self.held(component, p.device), host)

    def accessed(self) -> Iterator[Tokens]:
        """Pairs of nodes on different paths: the one accessed later, the other."""
        order, nodes = self.snapshot.access_order, self.snapshot.nodes
        for place, later in enumerate(order):
            for earlier in order[place + 1 :]:
                if not _related(nodes[later], nodes[earlier]):
                    yield (self.index[later], self.index[earlier])

    def request(self, r: Request) -> Form:
        lengths = (r.prompt_len, r.committed, r.protected, r.swa_evicted)
        row = self.held("full", r.row)
        where = (r.namespace, self.spell(r.tokens), self.index[r.last_node])
        states = tuple(
            None if slot is None else self.held("mamba", (slot,))
            for slot in (r.state_slot, r.state_source)
        )
        return (self.names[r.name], *where, *lengths, r.priority, row, *states, r.zero_state)

    def candidate(self, c: Candidate) -> Form:
        where = (c.namespace, self.spell(c.tokens), self.index[c.last_node], c.best_match)
        return (self.names[c.name], *where, c.priority)

    def transfer(self, t: Transfer) -> Form:
        moves = tuple(self.move(m) for m in t.moves)
        return (t.stream, self.index[t.node], self.nodes(t.nodes), t.stage, t.batch, moves)

    def move(self, m: Move) -> Form:
        host = self.held(f"host_{m.component}", m.host)
        return (m.component, self.held(m.component, m.device), host)

    def receipts(self) -> Iterator[Form]:
        """Holders are interchangeable; the receipts of a request stay together."""
        for r in self.snapshot.receipts:
            starts = (-1 if start is None else start for start in (r.full_start, r.swa_start))
            name = self.names[r.name] if r.owner == "request" else -1
            yield (r.tier, r.owner, name, self.index[r.anchor], *starts, r.state)

    def mapped(self) -> Form:
        """The SWA slots behind FULL slots; every owned FULL slot has its name by now."""
        pairs = [((x,), (y,)) for x, y in enumerate(self.snapshot.full_to_swa) if y]
        named = sorted((self.held("full", x), y) for x, y in pairs)
        return tuple((x, self.held("swa", y)) for x, y in named)


def _related(a: Node, b: Node) -> bool:
    """One is above the other."""
    shorter, longer = sorted((a.tokens, b.tokens), key=len)
    return a.namespace == b.namespace and longer[: len(shorter)] == shorter
