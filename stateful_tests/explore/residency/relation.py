"""Residency of the pages of a small tree as a transition relation over bits.

It abstracts the specification with FULL alone, page 1, write-through and pools with room for
everything (``projection.py`` checks that it is exact on such a scope). Each page of each prefix has
five bits; recency is forgotten, so any leaf may be the least recent one, and so is the order of
queues, so that whatever is on its way may arrive, a prefix before what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

Prefix = tuple[int, ...]

DEVICE = "d"
HOST = "h"
WRITING = "w"
"""Its backup is not acknowledged yet."""
LOADING = "l"
"""A load-back with this node for its target is not acknowledged yet."""
END = "e"
"""A node ends here."""
LETTERS = (DEVICE, HOST, WRITING, LOADING, END)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Bits that are set, and bits that are not."""

    name: str
    needs: int = 0
    lacks: int = 0

    def matches(self, state: int) -> bool:
        return state & (self.needs | self.lacks) == self.needs


@dataclass(frozen=True, slots=True)
class Rule:
    """A guarded command: where its pattern matches, some bits are set and some cleared."""

    name: str
    guard: Pattern
    sets: int = 0
    clears: int = 0

    def apply(self, state: int) -> int:
        return (state | self.sets) & ~self.clears


@dataclass(frozen=True)
class Residency:
    """The relation for a set of prefixes that has every prefix of its prefixes."""

    prefixes: tuple[Prefix, ...]

    @classmethod
    def complete(cls, alphabet: int, longest: int) -> Residency:
        """All prefixes over ``alphabet`` tokens of at most ``longest`` tokens, shortest first."""
        tokens, lengths = range(1, alphabet + 1), range(1, longest + 1)
        return cls(tuple(p for length in lengths for p in product(tokens, repeat=length)))

    @cached_property
    def bits(self) -> dict[tuple[str, Prefix], int]:
        """(letter, prefix) -> the number of its bit; bit 0 is ``armed``."""
        pairs = product(self.prefixes, LETTERS)
        return {(letter, p): i for i, (p, letter) in enumerate(pairs, start=1)}

    @property
    def armed(self) -> int:
        """The next allocation on the host fails."""
        return 1

    def of(self, letters: str, prefixes: Iterable[Prefix]) -> int:
        """The bits of some letters of some prefixes."""
        return sum(1 << self.bits[letter, p] for p in prefixes for letter in letters)

    def children(self, prefix: Prefix) -> list[Prefix]:
        return [p for p in self.prefixes if p[:-1] == prefix]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Everything that can happen."""
        fail = Rule("fail", Pattern("", lacks=self.armed), sets=self.armed)
        return (fail, *(rule for p in self.prefixes for rule in self._rules_of(p)))

    def _rules_of(self, prefix: Prefix) -> Iterator[Rule]:
        yield from self.insert(prefix)
        yield from self.split(prefix)
        yield from self.evict(prefix)
        yield from self.evict_host(prefix)
        yield from self.load_back(prefix)
        yield from self.acknowledge(prefix)

    # Operations

    def insert(self, key: Prefix) -> Iterator[Rule]:
        """A whole key becomes device-resident, and what is unbacked on its way is backed up.

        ``found`` pages are in the tree, the first ``device`` of them on the device and the first
        ``backed`` on the host; whatever is not backed up is on the device.
        """
        length = len(key)
        pages = [key[: i + 1] for i in range(length)]
        for found, device, backed in product(range(length + 1), repeat=3):
            if max(device, backed) != found:
                continue
            needs = self.of(DEVICE, pages[:device]) | self.of(HOST, pages[:backed])
            lacks = self.of(DEVICE, pages[device:found]) | self.of(HOST, pages[backed:found])
            lacks |= self.of(DEVICE + HOST, pages[found : found + 1])
            sets = self.of(DEVICE, pages) | self.of(END, pages[max(found - 1, 0) : found])
            sets |= self.of(END, pages[-1:])
            copied = self.of(HOST + WRITING, pages[backed:])
            guard = Pattern("", needs, lacks | self.armed)
            yield Rule("insert", guard, sets | copied)
            yield from self._insert_failing(pages, found, backed, needs | self.armed, lacks, sets)

    def _insert_failing(
        self,
        pages: list[Prefix],
        found: int,
        backed: int,
        needs: int,
        lacks: int,
        sets: int,
    ) -> Iterator[Rule]:
        """The first backup of the walk fails; the next node's brings it along, if there is one."""
        copied = self.of(HOST + WRITING, pages[backed:])
        once = Rule("insert", Pattern("", needs, lacks), sets | copied, self.armed)
        if backed == len(pages):
            yield Rule("insert", Pattern("", needs, lacks), sets)
        elif backed == found:
            yield Rule("insert", Pattern("", needs, lacks), sets, self.armed)
        elif found < len(pages):
            yield once
        else:
            inner = pages[backed : found - 1]
            alone = Pattern("", needs, lacks | self.of(END, inner))
            yield Rule("insert", alone, sets, self.armed)
            for i in range(len(inner)):
                ends, none = self.of(END, inner[i : i + 1]), self.of(END, inner[:i])
                several = Pattern("", needs | ends, lacks | none)
                yield Rule("insert", several, sets | copied, self.armed)

    def split(self, page: Prefix) -> Iterator[Rule]:
        """A match ends in the middle of a node."""
        if not self.children(page):
            return
        end, device, host = (self.of(letter, [page]) for letter in (END, DEVICE, HOST))
        yield Rule("split", Pattern("", device, end), end)
        yield Rule("split", Pattern("", host, device | end), end)

    def evict(self, end: Prefix) -> Iterator[Rule]:
        """A device leaf that nothing holds is demoted, or deleted if the host lacks it."""
        for pages, inside, above in self._runs(end):
            needs = self.of(DEVICE + END, [end]) | above
            lacks = self.of(WRITING + LOADING, [end]) | inside
            lacks |= self.of(DEVICE, self.children(end))
            host, device = self.of(HOST, [end]), self.of(DEVICE, pages)
            yield Rule("demote", Pattern("", needs | host, lacks), clears=device)
            gone = device | self.of(END, [end])
            yield Rule("delete", Pattern("", needs, lacks | host), clears=gone)

    def evict_host(self, end: Prefix) -> Iterator[Rule]:
        """A childless host-only node goes."""
        for pages, inside, above in self._runs(end):
            needs = self.of(HOST + END, [end]) | above
            lacks = self.of(DEVICE, [end]) | inside
            lacks |= self.of(DEVICE + HOST, self.children(end))
            gone = self.of(HOST, pages) | self.of(END, [end])
            yield Rule("evict_host", Pattern("", needs, lacks), clears=gone)

    def load_back(self, end: Prefix) -> Iterator[Rule]:
        """The whole path of a host-only node comes back."""
        path = [end[: i + 1] for i in range(len(end))]
        guard = Pattern("", self.of(HOST + END, [end]), self.of(DEVICE, [end]))
        yield Rule("load_back", guard, self.of(DEVICE, path) | self.of(LOADING, [end]))

    def acknowledge(self, end: Prefix) -> Iterator[Rule]:
        """The copy of a node has arrived; that of what is above it came first."""
        for pages, inside, above in self._runs(end):
            writing = self.of(WRITING, pages)
            before = self.of(WRITING, [p[:-1] for p in pages[:1] if len(p) > 1])
            guard = Pattern("", self.of(WRITING + END, [end]) | above, inside | before)
            yield Rule("acknowledge_write", guard, clears=writing)
        loading = self.of(LOADING, [end])
        yield Rule("acknowledge_load", Pattern("", loading), clears=loading)

    def _runs(self, end: Prefix) -> Iterator[tuple[list[Prefix], int, int]]:
        """The pages that a node ending at ``end`` may have.

        With the ends that must be missing inside it, and the one that must be above it.
        """
        for start in range(len(end)):
            pages = [end[: i + 1] for i in range(start, len(end))]
            above = self.of(END, [end[:start]] if start else [])
            yield pages, self.of(END, pages[:-1]), above

    # Invariants

    @cached_property
    def never(self) -> tuple[Pattern, ...]:
        """What no reachable state shows, under the names of the catalogue."""
        return tuple(pattern for p in self.prefixes for pattern in self._never_at(p))

    def _never_at(self, page: Prefix) -> Iterator[Pattern]:
        device, host, writing, loading, end = (self.of(letter, [page]) for letter in LETTERS)
        if len(page) > 1:
            above = [page[:-1]]
            yield Pattern("device-is-prefix-closed", device, self.of(DEVICE, above))
            yield Pattern("backup-is-prefix-closed", host, self.of(HOST, above))
        yield Pattern("pending-writes-keep-their-source", writing, device)
        yield Pattern("pending-writes-have-host-slots", writing, host)
        yield Pattern("loaded-data-is-on-the-device", loading, device)
        yield Pattern("loads-come-from-the-host", loading, host)
        yield Pattern("nodes-hold-data", end, device | host)
        below = self.of(DEVICE + HOST, self.children(page))
        for present in (device, host):
            yield Pattern("paths-end-at-nodes", present, end | below)
