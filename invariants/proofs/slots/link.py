"""An observed step is a sequence of transitions of the theory of slots, token by token.

As the link of the forest (``proofs/link.py``): what changed is read off two snapshots and put into
an order; every guard is evaluated where it is taken, and the last structure must be that of the
second snapshot. Slots that a client's insert takes and gives back are those of positions that live
as long as the step.
"""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step
from radixproof.invariants.proofs.finite import Individual, Structure
from radixproof.invariants.proofs.logic import Relation
from radixproof.invariants.proofs.slots.abstraction import cell_of, population, read
from radixproof.invariants.proofs.slots.theory import SLOTS
from radixproof.invariants.proofs.slots.vocabulary import (
    POSITION,
    free,
    full_at,
    host_at,
    leads,
    owned,
    reads,
    row,
    swa_at,
    window_free,
)
from radixproof.invariants.proofs.system import Theory
from radixproof.invariants.proofs.taking import Explanation, NotAllowed, Taking
from radixproof.model import operations as op
from radixproof.model.config import SWA
from radixproof.model.operations import Operation
from radixproof.model.units import units

_DEVICE_EVICTION = {"tombstone", "evict", "back-up", "evict-host"}
_ALLOCATION = {"allocate", "allocate-full", "slide"}
_INSERT = {"hand-over", "duplicate", "adopt", "move-window", "back-up", "evict-host"}
_END = {"leave", "abort"}
_LOAD = {"load-full", "load-window"}
MAY_TAKE: dict[type[Operation], set[str]] = {
    **{kind: set() for kind in op.OPERATIONS.values()},
    op.Insert: _ALLOCATION | _INSERT | _END,
    op.Evict: _DEVICE_EVICTION,
    op.EvictHost: {"evict-host"},
    op.LoadBack: _DEVICE_EVICTION | _LOAD,
    op.Admit: _DEVICE_EVICTION | _LOAD | {"borrow"},
    op.Proceed: _DEVICE_EVICTION | _LOAD | {"borrow"},
    op.Prefill: _DEVICE_EVICTION | _ALLOCATION | _INSERT,
    op.Decode: _DEVICE_EVICTION | _ALLOCATION,
    op.SlideWindow: {"slide"},
    op.Finish: _INSERT | _END | {"slide"},
    op.Abort: _END,
    op.Retract: _END,
    op.Reset: {"evict", "evict-host"},
}
"""Which transitions an operation may consist of."""


def explain_slots(step: Step, theory: Theory = SLOTS) -> Explanation:
    """A sequence of transitions that leads from the slots before to the slots after."""
    first = _Tokens(step, theory).run()
    if first.holds:
        return first
    tries = (
        _Tokens(step, theory, adopting=adopting, anew=anew).run()
        for adopting, anew in ((False, False), (True, True), (False, True))
    )
    return next((found for found in tries if found.holds), first)


class _Tokens(Taking):
    """One step, token by token, and one way to read it.

    ``adopting``: a tombstone that has another FULL slot afterwards took the insert's, or else it
    was evicted to make room for the insert and came anew. ``anew``: so were tokens of the insert's
    own path that have the same slots as before, which a freed slot may become again.
    """

    def __init__(
        self, step: Step, theory: Theory, *, adopting: bool = True, anew: bool = False
    ) -> None:
        before, after = read(step.before), read(step.after)
        kind = type(step.operation)
        self.step = step
        self.adopting = adopting
        self.anew = anew
        self.caching = kind in (op.Insert, op.Prefill, op.Finish)
        self.with_swa = SWA in step.after.config.components
        there = population(step.after, before, after)
        longest = len(getattr(step.operation, "tokens", ()))
        self.passing = tuple(("passing", i) for i in range(longest))
        there[POSITION] = (*there[POSITION], *self.passing)
        self.goal = Structure(there, {r: frozenset(f) for r, f in after.items()})
        at = Structure(there, {r: frozenset(f) for r, f in before.items()})
        super().__init__(theory, at, MAY_TAKE[kind], op.NAMES[kind])

    def run(self) -> Explanation:
        try:
            self._depart()
            self._allocate()
            self._load()
            self._borrow()
            self._slide()
            self._cache()
            self._end()
            self._back_up()
        except NotAllowed as problem:
            return Explanation(self.taken, [str(problem)], problem.conjuncts)
        differences = list(self._differences())
        relations = frozenset(relation for relation, _ in differences)
        return Explanation(self.taken, [told for _, told in differences], relations)

    # Reading the structures

    def now(self, relation: Relation, one: Individual) -> Individual:
        return _first(self.at, relation, one)

    def then(self, relation: Relation, one: Individual) -> Individual:
        return _first(self.goal, relation, one)

    def _unread(self, cell: Individual) -> bool:
        return all(c != cell for _, c in self.at.of(reads))

    # In order

    def _depart(self) -> None:
        """What leaves the device, whole or its SWA part; then what leaves the host."""
        again = set(self._on_its_path()) if self.anew else set()
        for cell, slot in sorted(self.at.of(full_at), key=str):
            stays, window = self.then(full_at, cell), self.now(swa_at, cell)
            adopts = self.adopting and self.caching and window is None and self._unread(cell)
            evicted = stays != slot and not adopts
            if stays is None or evicted or (cell in again and self._unread(cell)):
                self.take("evict", cell, slot)
            elif window is not None and (window != self.then(swa_at, cell) or cell in again):
                self.take("tombstone", cell, slot, window)
        for cell, slot in sorted(self.at.of(host_at), key=str):
            if self.then(host_at, cell) != slot:
                self.take("evict-host", cell, slot)

    def _on_its_path(self) -> Iterator[Individual]:
        """Tokens that a prefill's insert walks over and that its request did not hold before."""
        if isinstance(self.step.operation, op.Prefill):
            held = set(self.at.of(reads))
            yield from (cell for p, cell in self.goal.of(reads) if (p, cell) not in held)

    def _allocate(self) -> None:
        """New positions of a running request; which slots those had that are given back is free."""
        if isinstance(self.step.operation, op.Admit | op.Proceed):
            return
        wanted = {c: x for c, x in self.goal.of(full_at) if (c, x) not in self.at.of(full_at)}
        rows = sorted((p for p, _ in self.goal.of(row) if self.now(row, p) is None), key=str)
        exact: dict[Individual, Individual] = {}
        for p in rows:
            slot, cell = self.then(row, p), self.then(reads, p)
            if cell is None or wanted.get(cell) == slot:
                exact[p] = slot
        for p in sorted(rows, key=lambda p: p not in exact):
            cell = self.then(reads, p)
            window = self.then(leads, exact[p]) if p in exact else self.then(swa_at, cell)
            self._get(p, exact.get(p), window)

    def _get(self, p: Individual, slot: Individual, window: Individual) -> None:
        """A slot, and an SWA slot, for a position: those that are asked for, or any."""
        slot = self._any(free) if slot is None else slot
        if not self.with_swa:
            self.take("allocate-full", p, slot)
            return
        if window is None or (window,) not in self.at.of(window_free):
            window = self._any(window_free)
        self.take("allocate", p, slot, window)

    def _any(self, relation: Relation) -> Individual:
        """A free one; if there is such a one, one that is free in the end, too."""
        there = {x for (x,) in self.at.of(relation)}
        if not there:
            raise NotAllowed(f"nothing is {relation.name}, and something was allocated")
        return max(there & {x for (x,) in self.goal.of(relation)} or there, key=str)

    def _load(self) -> None:
        if self.caching:
            return
        for cell, slot in sorted(self.goal.of(full_at), key=str):
            if self.now(full_at, cell) is None:
                self.take("load-full", cell, slot)
        for cell, window in sorted(self.goal.of(swa_at), key=str):
            if self.now(swa_at, cell) is None:
                self.take("load-window", cell, self.now(full_at, cell), window)

    def _borrow(self) -> None:
        for p, cell in sorted(self.goal.of(reads), key=str):
            if self.now(row, p) is None:
                self.take("borrow", p, cell, self.now(full_at, cell))

    def _slide(self) -> None:
        """Positions that stay the request's and whose SWA slot is given back."""
        for p, slot in sorted(self.at.of(row), key=str):
            window = self.now(leads, slot)
            kept = (p,) in self.goal.of(owned)
            if kept and window is not None and self.then(leads, slot) is None:
                self.take("slide", p, slot, window)

    def _cache(self) -> None:
        """An insert walks along its key: what the tree has not yet, and what it has already."""
        for p, cell in self._offered():
            slot, theirs = self.now(row, p), self.now(full_at, cell)
            window = self.then(swa_at, cell)
            if theirs is None:
                self._hand_over(p, cell)
            elif self.then(full_at, cell) != theirs:
                self.take("adopt", p, slot, cell, theirs)
            elif self.now(swa_at, cell) is None and window is not None:
                self.take("move-window", p, slot, cell, theirs)
            else:
                self.take("duplicate", p, slot, cell, theirs)
            if p in self.passing:
                self.take("leave", p)

    def _hand_over(self, p: Individual, cell: Individual) -> None:
        slot = self.now(row, p)
        window = self.now(leads, slot)
        if window is not None and self.then(swa_at, cell) is None:
            self.take("slide", p, slot, window)
        self.take("hand-over", p, slot, cell)

    def _offered(self) -> Iterator[tuple[Individual, Individual]]:
        """Positions whose slots an insert offers the tree, with the tokens they are there."""
        o, bigram = self.step.operation, self.step.after.config.bigram
        if isinstance(o, op.Insert):
            spelled = units(o.tokens, bigram)
            for i in range(len(spelled)):
                cell = cell_of(self.step.after, o.namespace, spelled, i)
                slot, window = self.then(full_at, cell), self.then(swa_at, cell)
                kept = self.now(full_at, cell)
                if slot is None or (kept, self.now(swa_at, cell)) == (slot, window):
                    continue
                self._get(("passing", i), None if slot == kept else slot, window)
                yield ("passing", i), cell
        elif isinstance(o, op.Prefill):
            for p, cell in sorted(self.goal.of(reads), key=str):
                if (p,) in self.at.of(owned):
                    yield p, cell
        elif isinstance(o, op.Finish):
            ended = next((r for r in self.step.before.requests if r.name == o.request), None)
            if ended is None or any(r.name == o.request for r in self.step.after.requests):
                return
            spelled = units(ended.tokens, bigram)
            for i in range(min(len(spelled), len(ended.row))):
                cell, p = cell_of(self.step.after, ended.namespace, spelled, i), (ended.name, i)
                if (p,) in self.at.of(owned) and self.then(full_at, cell) is not None:
                    yield p, cell

    def _end(self) -> None:
        """Positions that are gone: what is borrowed is forgotten, what is owned is freed."""
        for p, slot in sorted(self.at.of(row), key=str):
            if self.then(row, p) is None:
                if (p,) in self.at.of(owned):
                    self.take("abort", p, slot)
                else:
                    self.take("leave", p)

    def _back_up(self) -> None:
        for cell, slot in sorted(self.goal.of(host_at), key=str):
            if self.now(host_at, cell) is None:
                self.take("back-up", cell, slot)

    def _differences(self) -> Iterator[tuple[str, str]]:
        for relation in SLOTS.signature.relations:
            reached, seen = self.at.of(relation), self.goal.of(relation)
            for tuples, where in (
                (reached - seen, "is not so afterwards"),
                (seen - reached, "has no cause"),
            ):
                for found in sorted(tuples, key=str)[:2]:
                    yield relation.name, f"{relation.name}{found} {where}"


def _first(state: Structure, relation: Relation, one: Individual) -> Individual:
    """What a relation leads to from an individual; ``None``: nowhere."""
    return next((y for x, y in state.of(relation) if x == one), None)
