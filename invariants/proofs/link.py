"""The link: an observed step is a sequence of transitions of the theory.

One public operation does many things: an insert splits nodes, adds a leaf and backs up a path. The
link reads off two snapshots what has changed, puts it in an order in which the theory allows it,
and then takes those transitions one by one: every guard is evaluated in the structure that the
transitions before it have led to, and the last structure must be that of the second snapshot.
Nothing is assumed of the states in between. If no order is found, the step is not in the relation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from radixproof.invariants.catalogue import Step
from radixproof.invariants.proofs.abstraction import Abstraction, Unreadable
from radixproof.invariants.proofs.beyond import unlinked
from radixproof.invariants.proofs.finite import ROOT, Individual, Structure
from radixproof.invariants.proofs.system import Theory
from radixproof.invariants.proofs.taking import Explanation, NotAllowed, Taking
from radixproof.invariants.proofs.theory import THEORY
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    NODE,
    STATE,
    anchor,
    copies,
    edge,
    flying,
    good,
    has,
    holds,
    host,
    live,
    lock,
    marked,
    parent,
    ran,
    short,
    stale,
    target,
    through,
    tiered,
    up,
)
from radixproof.invariants.steps.compare import is_ok, is_refused, tier_of, value
from radixproof.invariants.steps.loss import a_host_failure_struck, has_room_for
from radixproof.model import operations as op
from radixproof.model.operations import Operation
from radixproof.model.options import WAITS_UNLOCKED

_DEVICE_EVICTION = {"demote", "delete", "tombstone", "write-back", "evict-host", "drop-host"}
_HOST_EVICTION = {"evict-host", "drop-host"}
_INSERT = {"split", "add-leaf", "revive", "replace", "fill", "backup", "hit", "hit-refused"}
_LOCKS = {"lock", "unlock"}
MAY_TAKE: dict[type[Operation], set[str]] = {
    op.Match: {"split"},
    op.Insert: _INSERT | _HOST_EVICTION,
    op.Lock: {"lock"},
    op.Unlock: {"unlock"},
    op.HostLock: {"host-lock"},
    op.HostUnlock: {"unlock"},
    op.Evict: _DEVICE_EVICTION,
    op.EvictHost: _HOST_EVICTION,
    op.LoadBack: _DEVICE_EVICTION | _LOCKS | {"load-back"},
    op.StartLoading: set(),
    op.Execute: {"execute"},
    op.Observe: {"observe"},
    op.Admit: _DEVICE_EVICTION | _LOCKS | {"split", "load-back"},
    op.Prefill: _DEVICE_EVICTION | _INSERT | _LOCKS | {"execute"},
    op.Decode: _DEVICE_EVICTION,
    op.SlideWindow: set(),
    op.Finish: _INSERT | _HOST_EVICTION | {"unlock"},
    op.Abort: {"unlock", "execute"},
    op.Prepare: {"split", "lock"},
    op.Proceed: _DEVICE_EVICTION | _LOCKS | {"load-back"},
    op.Retract: {"unlock", "execute", "split", "lock"},
    op.ReleaseWindow: {"release-window"},
    op.Reset: {"reset"},
    op.FailAllocation: set(),
}
"""Which transitions an operation may consist of."""


def _kind(step: Step) -> type[Operation]:
    """Of the operation. A waiting request that holds nothing is admitted as a new one is."""
    waits = isinstance(step.operation, op.Proceed) and WAITS_UNLOCKED in step.after.options
    return op.Admit if waits else type(step.operation)


_PIN, _LOADS_PIN = ("pin", "match"), ("pin", "load")
"""Holders of locks that an operation takes and gives back before it returns."""


def explain(step: Step, theory: Theory = THEORY) -> Explanation:
    """A sequence of transitions that leads from the state before to the state after."""
    try:
        before, after = Abstraction(step.before), Abstraction(step.after)
    except Unreadable as problem:
        return Explanation([], [str(problem)])
    first = _Decomposition(step, before, after, theory, outliving=True).run()
    if first.holds:
        return first
    second = _Decomposition(step, before, after, theory, outliving=False).run()
    if second.holds:
        return second
    first.beyond = unlinked(step, first.complaints)
    return first


class _Decomposition(Taking):
    """One attempt. ``outliving``: a part of a deleted node may still be in the tree, or else
    what spells the same prefix was deleted and made anew."""

    def __init__(
        self,
        step: Step,
        before: Abstraction,
        after: Abstraction,
        theory: Theory,
        *,
        outliving: bool,
    ) -> None:
        self.step = step
        self.names = after
        self.outliving = outliving
        ids = before.nodes | after.nodes
        gone = {x for facts in (before.facts, after.facts) for _, _, x in facts[anchor]} - ids
        population = {
            NODE: (ROOT, *sorted((ids | gone) - {ROOT}, key=str)),
            HOLDER: (*sorted(before.holders | after.holders, key=str), _PIN, _LOADS_PIN),
        }
        self.parts = self._parts(before)
        after.facts[stale] = set(self._stale(before, after))
        self.goal = after.structure(population)
        start = before.structure(population)
        at = Structure(population, {**start.facts, short: frozenset(self._short())})
        super().__init__(theory, at, MAY_TAKE[_kind(step)], op.NAMES[type(step.operation)])

    def run(self) -> Explanation:
        try:
            self._decompose()
        except NotAllowed as problem:
            return Explanation(self.taken, [str(problem)], problem.conjuncts)
        differences = list(self._differences())
        relations = frozenset(relation for relation, _ in differences)
        return Explanation(self.taken, [told for _, told in differences], relations)

    def _decompose(self) -> None:
        if isinstance(self.step.operation, op.Reset) and is_ok(self.step):
            self.take("reset")
            return
        self._split()
        self._pin()
        self._depart()
        self._execute()
        self._load()
        self._arrive()
        self._back_up()
        self._count_hits()
        self._observe()
        self._unpin()
        self._relock()

    # What has changed

    def _parts(self, before: Abstraction) -> dict[int, list[int]]:
        """Node before -> the nodes after that it has become, root to leaf."""
        found: dict[int, list[int]] = {}
        for i, b in self.step.origin.items():
            whole = self.step.fragments[b]
            if whole or (self.outliving and self._ends_inside(i, b)):
                found.setdefault(b, []).append(i)
        return {b: sorted(parts, key=lambda i: self._end(i)) for b, parts in found.items()}

    def _ends_inside(self, i: int, b: int) -> bool:
        return self._end(i) < self.step.before.nodes[b].end

    def _end(self, i: int) -> int:
        return self.step.after.nodes[i].end

    @cached_property
    def _moved(self) -> frozenset[tuple[Individual, ...]]:
        """(component, tier, node after) of values that lie in other slots than before."""
        found: set[tuple[Individual, ...]] = set()
        for b, parts in self.parts.items():
            old = self.step.before.nodes[b]
            if not parts or self._ends_inside(parts[-1], b):
                continue
            for component in self.step.before.config.components:
                its = parts[-1:] if component == "mamba" else parts
                for tier in ("device", "host"):
                    held = tier_of(old.placement(component), tier)
                    now = value(self.step.after, tuple(its), component, tier)
                    if held is not None and now is not None and held != now:
                        found.update((component, tier, self.names.of(i)) for i in its)
        return frozenset(found)

    def _stale(
        self, before: Abstraction, after: Abstraction
    ) -> Iterator[tuple[str, str, Individual, Individual]]:
        """Values that changed though the same holder locked them before and locks them now."""
        now, index = after.facts[lock], {name: b for b, name in before.name.items()}
        for component, tier, holder, node in before.facts[lock]:
            b = index[node]
            old = before.view.nodes[b]
            held = tier_of(old.placement(component), tier)
            if held is None:
                continue
            for i in self.parts.get(b, []):
                name = after.of(i)
                if (component, tier, holder, name) in now:
                    n = self.step.after.nodes[i]
                    whole = component == "mamba"
                    piece = held if whole else held[n.start - old.start : n.end - old.start]
                    if tier_of(n.placement(component), tier) != piece:
                        yield component, tier, holder, name

    def _short(self) -> Iterator[tuple[Individual]]:
        """Nodes that the host pools could not take, even after host eviction."""
        if not self.step.after.config.has_host:
            return
        struck = a_host_failure_struck(self.step)
        for i, n in enumerate(self.step.after.nodes):
            if n.full.host is None and (struck or not has_room_for(self.step.after, i)):
                yield (self.names.of(i),)

    # The parts of a decomposition, in order

    def _split(self) -> None:
        for b, parts in sorted(self.parts.items()):
            lower = self.step.before.nodes[b].id
            for i in parts:
                if self.names.of(i) != lower:
                    self.take("split", lower, self.names.of(i))

    def _pin(self) -> None:
        """A load, and an admission, lock what they are about before anything is evicted."""
        o = self.step.operation
        at: int | None = None
        if isinstance(o, op.Admit) and is_ok(self.step):
            hit = self.step.outcome.values["device_hit"]
            at = self.step.after.find(o.namespace, o.tokens[:hit])
        elif isinstance(o, op.LoadBack) and is_refused(self.step):
            at = self.step.after.find(o.namespace, o.tokens)
        if at is not None:
            self.take("lock", _PIN, self.names.of(at), self._window_top(at))
        for h, n in sorted(self.goal.of(target) - self.at.of(target), key=str):
            self.take("lock", _LOADS_PIN, n, self._edge("device", h, n))

    def _unpin(self) -> None:
        for pin in (_PIN, _LOADS_PIN):
            if ("device", pin) in self.at.of(holds):
                self.take("unlock", "device", pin)

    def _window_top(self, index: int) -> Individual:
        """The topmost node of the window that ends at a node (domain.md 5.7)."""
        size, length, top = self.step.after.config.sliding_window, 0, index
        for i in self.step.after.path(index):
            if length >= size:
                break
            length, top = length + len(self.step.after.nodes[i].key), i
        return self.names.of(top)

    def _depart(self) -> None:
        """What goes, leaves first: from the device, then from the host."""
        goal, through_or_untiered = self.goal, self.at.of(through) or not self.at.of(tiered)
        for n in self._deepest_first():
            stays = (n,) in goal.of(live)
            kept = ("full", "device", n) in goal.of(has) and not self._bounced(n)
            for k in self._auxiliary:
                here, there = self.at.of(has), goal.of(has) - self._moved
                if kept and (k, "device", n) in here - there:
                    self.take("tombstone", k, n)
            if ("full", "device", n) in self.at.of(has) and not kept:
                if ("full", "host", n) in self.at.of(has):
                    self.take("demote", n)
                elif through_or_untiered:
                    self.take("delete", n)
                else:
                    self.take("write-back", n)
                    self.take("demote", n)
            if not stays and (n,) in self.at.of(live):
                self.take("evict-host", n)
            for k in self._auxiliary:
                if (k, "host", n) in self.at.of(has) and (k, "host", n) not in goal.of(has):
                    self.take("drop-host", k, n)

    def _bounced(self, n: Individual) -> bool:
        """Write-back evicted the node, and the same operation's insert revived it."""
        new_on_host = ("full", "host", n) in self.goal.of(has) - self.at.of(has)
        return new_on_host and not self.at.of(through) and (n,) in self.at.of(live)

    @property
    def _auxiliary(self) -> list[str]:
        return [c for c in self.step.after.config.components if c != "full"]

    def _deepest_first(self) -> list[Individual]:
        depth: dict[Individual, int] = {}
        for n, _ in self.at.of(up):
            depth[n] = depth.get(n, 0) + 1
        return [n for n in sorted(depth, key=lambda n: (-depth[n], str(n))) if n != ROOT]

    def _execute(self) -> None:
        for (h,) in sorted(self.goal.of(ran) - self.at.of(ran), key=str):
            if (h,) in self.at.of(flying):
                self.take("execute", h)

    def _load(self) -> None:
        for h, n in sorted(self.goal.of(target) - self.at.of(target), key=str):
            self.take("load-back", h, n, self._edge("device", h, n))
            if (h,) in self.goal.of(ran):
                self.take("execute", h)

    def _edge(self, tier: Individual, holder: Individual, otherwise: Individual) -> Individual:
        """The topmost node of the holder's window, after the step."""
        tops = [x for k, t, h, x in self.goal.of(edge) if (k, t, h) == ("swa", tier, holder)]
        return tops[0] if tops else otherwise

    def _arrive(self) -> None:
        """What comes, parents first: nodes, then data on them."""
        for n in self._parents_first():
            on_device = ("full", "device", n) in self.goal.of(has)
            if (n,) not in self.at.of(live):
                above = next(y for x, y in self.goal.of(parent) if x == n)
                self.take("add-leaf" if on_device else "attach", above, n)
            elif on_device and ("full", "device", n) not in self.at.of(has):
                self.take("revive", n)
            elif ("full", "device", n) in self._moved:
                self.take("replace", n)
            for k in self._auxiliary:
                came = (k, "device", n) in self.goal.of(has) - self.at.of(has)
                if came and not self._came_after_the_backup(k, n):
                    self.take("fill", k, "device", n)

    def _came_after_the_backup(self, k: str, n: Individual) -> bool:
        """A backup of this step left the value out: an insert hands a state over at its end."""
        goal, backed_up = self.goal.of(has), self.at.of(has)
        return ("full", "host", n) in goal - backed_up and (k, "host", n) not in goal

    def _parents_first(self) -> list[Individual]:
        return [self.names.name[i] for i in range(len(self.step.after.nodes))]

    def _back_up(self) -> None:
        for n in self._parents_first():
            if ("full", "host", n) in self.goal.of(has) - self.at.of(has):
                writers = [h for h, x in self.goal.of(marked) if x == n]
                writers += [h for k, h, x in self.goal.of(copies) if (k, x) == ("full", n)]
                if not writers:
                    raise NotAllowed(f"host data of {n} appeared without a copy")
                self.take("backup", writers[0], n, self._edge("device", writers[0], n))
                for k in self._auxiliary:
                    if (k, "device", n) in self.goal.of(has) - self.at.of(has):
                        self.take("fill", k, "device", n)

    def _count_hits(self) -> None:
        """Whose count grew to the threshold in this step is backed up, or the host had no room."""
        step, config = self.step, self.step.after.config
        if not self.names.writes_through:
            return
        for i, n in enumerate(step.after.nodes):
            b = step.origin.get(i)
            before = step.before.nodes[b].hit if b is not None and i in self.parts.get(b, ()) else 0
            if n.hit < config.write_through_threshold or n.hit <= before or n.full.device is None:
                continue
            if n.full.host is not None:
                self.take("hit", self.names.of(i))
            else:
                unbacked = [a for a in step.after.path(i) if step.after.nodes[a].full.host is None]
                self.take("hit-refused", self.names.of(i), self.names.of(unbacked[-1]))

    def _observe(self) -> None:
        for (h,) in sorted(self.at.of(flying) - self.goal.of(flying), key=str):
            self.take("observe", h)

    def _relock(self) -> None:
        """Receipts of clients and requests that ended, and those that began."""
        if isinstance(self.step.operation, op.ReleaseWindow) and is_ok(self.step):
            self.take("release-window", ("request", self.step.operation.request))
        for tier, h in sorted(self.at.of(holds), key=str):
            if (h,) in self.at.of(flying):
                continue  # a copy keeps its receipts until it is observed
            if self._receipt(self.at, tier, h) != self._receipt(self.goal, tier, h):
                self.take("unlock", tier, h)
        for tier, h in sorted(self.goal.of(holds) - self.at.of(holds), key=str):
            n = next(x for t, g, x in self.goal.of(anchor) if (t, g) == (tier, h))
            name = "lock" if tier == "device" else "host-lock"
            self.take(name, h, n, self._edge(tier, h, n))

    @staticmethod
    def _receipt(s: Structure, tier: Individual, h: Individual) -> set[tuple[Individual, ...]]:
        anchors = {(x,) for t, g, x in s.of(anchor) if (t, g) == (tier, h)}
        return anchors | {(k, x) for k, t, g, x in s.of(edge) if (t, g) == (tier, h)}

    # The end

    def _differences(self) -> Iterator[tuple[str, str]]:
        """Name of a relation, and what differs."""
        for relation in STATE:
            reached, seen = self.at.of(relation), self.goal.of(relation)
            missing, extra = reached - seen, seen - reached
            if relation == good:  # bytes may be right by chance before a copy brings them
                extra = frozenset()
            for tuples, where in ((missing, "is not so afterwards"), (extra, "has no cause")):
                for found in sorted(tuples, key=str)[:2]:
                    yield relation.name, f"{relation.name}{found} {where}"
        for component, tier, n in sorted(self._moved, key=str):
            if tier == host.name:
                yield has.name, f"{component} host data of {n} moved to other slots"
