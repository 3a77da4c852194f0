"""Where counting matters: sizes and lock counts as numbers, for every tree up to a size.

First-order logic over an unbounded forest does not count. Here the trees are given, all of up to
``MOST`` nodes, and everything else is symbolic: any lengths, any lock counts, any residency. The
solvers see linear arithmetic without quantifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TypeVar

MOST = 4
"""Nodes below the root; 33 trees."""
LOGIC = "QF_LIA"
COMPONENTS = ("full", "swa")

T = TypeVar("T")
Tree = tuple[int, ...]
"""Node -> its parent, which has a smaller number; -1: the root."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A state over one tree, as terms. ``anchored`` counts the receipts taken on a node itself."""

    parents: Tree
    length: tuple[str, ...]
    anchored: tuple[str, ...]
    lock: dict[str, tuple[str, ...]]
    device: dict[str, tuple[str, ...]]
    evictable: dict[str, str]
    protected: dict[str, str]

    def path(self, n: int) -> list[int]:
        """The node and its ancestors below the root."""
        found = []
        while n >= 0:
            found.append(n)
            n = self.parents[n]
        return found

    def claims(self) -> dict[str, str]:
        """Slug -> what must hold of the numbers."""
        nodes = range(len(self.parents))
        full, swa = self.lock["full"], self.lock["swa"]
        below = [[full[m] for m in nodes if self.parents[m] == n] for n in nodes]
        exact = [f"(= {full[n]} {_sum([self.anchored[n], *below[n]])})" for n in nodes]
        return {
            "lock-counts-are-not-negative": _and(
                f"(>= {count} 0)" for counts in (full, swa, self.anchored) for count in counts
            ),
            "full-locks-are-upward-closed": _and(exact),
            "swa-locks-never-exceed-full-locks": _and(f"(<= {swa[n]} {full[n]})" for n in nodes),
            "swa-data-needs-full-data": _and(
                f"(=> {self.device['swa'][n]} {self.device['full'][n]})" for n in nodes
            ),
            "sizes-add-up": _and(
                f"(= {size[c]} {_sum(self._tokens(c, n, locked) for n in nodes)})"
                for c in COMPONENTS
                for size, locked in ((self.evictable, False), (self.protected, True))
            ),
        }

    def _tokens(self, component: str, n: int, locked: bool) -> str:
        held = f"({'>' if locked else '='} {self.lock[component][n]} 0)"
        return f"(ite (and {self.device[component][n]} {held}) {self.length[n]} 0)"


@dataclass(frozen=True, slots=True)
class Happening:
    """One operation on one node of one tree: when it may happen, and the numbers afterwards."""

    guard: str
    after: Numbers


Operation = Callable[[Numbers, int], Iterator[Happening]]


@dataclass(frozen=True)
class Bounded:
    """One operation, one sentence, all trees of one size, all nodes of each."""

    transition: str
    slug: str
    text: str
    kind: str = field(default="bounded")
    logic: str = field(default=LOGIC)


CLAIMS = (
    "lock-counts-are-not-negative",
    "full-locks-are-upward-closed",
    "swa-locks-never-exceed-full-locks",
    "swa-data-needs-full-data",
    "sizes-add-up",
)


def trees(nodes: int) -> Iterator[Tree]:
    return product(*(range(-1, n) for n in range(nodes)))


def before(parents: Tree) -> tuple[Numbers, str]:
    """Numbers with a name each, and their declarations."""
    nodes = range(len(parents))

    def named(what: str) -> tuple[str, ...]:
        return tuple(f"{what}{n}" for n in nodes)

    found = Numbers(
        parents,
        named("length"),
        named("anchored"),
        {c: named(f"{c}-lock") for c in COMPONENTS},
        {c: named(f"{c}-device") for c in COMPONENTS},
        {c: f"{c}-evictable" for c in COMPONENTS},
        {c: f"{c}-protected" for c in COMPONENTS},
    )
    integers = [
        *found.length,
        *found.anchored,
        *(x for c in COMPONENTS for x in found.lock[c]),
        *found.evictable.values(),
        *found.protected.values(),
        "cut",
    ]
    booleans = [x for c in COMPONENTS for x in found.device[c]]
    lines = [f"(declare-const {x} Int)" for x in integers]
    lines += [f"(declare-const {x} Bool)" for x in booleans]
    lines += [f"(assert (>= {x} 1))" for x in found.length]
    lines += [f"(assert {claim})" for claim in found.claims().values()]
    return found, "\n".join(lines) + "\n"


# The operations


def lock(s: Numbers, n: int) -> Iterator[Happening]:
    """FULL counts on the path, SWA on it up to the window's topmost node; sizes move at 0."""
    path = s.path(n)
    for top in range(1, len(path) + 1):
        yield Happening("true", _counted(s, n, path, path[:top], "+"))


def unlock(s: Numbers, n: int) -> Iterator[Happening]:
    """A receipt on the node is given back; above its window it counts in FULL alone."""
    path = s.path(n)
    for top in range(1, len(path) + 1):
        its = [f"(>= {s.anchored[n]} 1)"]
        its += [f"(>= {s.lock['swa'][i]} 1)" for i in path[:top]]
        its += [f"(< {s.lock['swa'][i]} {s.lock['full'][i]})" for i in path[top:]]
        yield Happening(_and(its), _counted(s, n, path, path[:top], "-"))


def appear(s: Numbers, n: int) -> Iterator[Happening]:
    """A value comes to the device: credited to what its lock count says."""
    for c in COMPONENTS:
        for locked in (False, True):
            held = f"({'>' if locked else '='} {s.lock[c][n]} 0)"
            full_there = s.device["full"][n] if c == "swa" else "true"
            guard = _and([f"(not {s.device[c][n]})", full_there, held])
            yield Happening(guard, _moved(s, n, c, "true", "+", locked))


def vanish(s: Numbers, n: int) -> Iterator[Happening]:
    """A value that nobody locks leaves the device; FULL after SWA."""
    for c in COMPONENTS:
        alone = f"(not {s.device['swa'][n]})" if c == "full" else "true"
        guard = _and([s.device[c][n], alone, f"(= {s.lock[c][n]} 0)"])
        yield Happening(guard, _moved(s, n, c, "false", "-", False))


def split(s: Numbers, n: int) -> Iterator[Happening]:
    """The upper part, a new node, has the first ``cut`` tokens and the counts of the lower."""
    yield Happening(
        f"(< 0 cut {s.length[n]})", _parted(s, n, {c: s.lock[c][n] for c in COMPONENTS})
    )


OPERATIONS: dict[str, Operation] = {
    "lock": lock,
    "unlock": unlock,
    "appear": appear,
    "vanish": vanish,
    "split": split,
}


def always_evictable(s: Numbers, n: int) -> Iterator[Happening]:
    """Wrong (M-13): a value that appears is credited to evictable, locked or not."""
    for c in COMPONENTS:
        full_there = s.device["full"][n] if c == "swa" else "true"
        guard = _and([f"(not {s.device[c][n]})", full_there])
        yield Happening(guard, _moved(s, n, c, "true", "+", False))


def split_without_counts(s: Numbers, n: int) -> Iterator[Happening]:
    """Wrong (M-8): the upper part of a split starts without lock counts."""
    yield Happening(f"(< 0 cut {s.length[n]})", _parted(s, n, dict.fromkeys(COMPONENTS, "0")))


WRONG: dict[str, tuple[str, dict[str, Operation]]] = {
    "M-8": (
        "a split does not copy device lock counts to the upper part",
        {"split": split_without_counts},
    ),
    "M-13": (
        "data that appears under a lock is counted as evictable",
        {"appear": always_evictable},
    ),
}
"""Known-wrong rule -> its title, and the operations that it changes."""


def obligations(wrong: str | None = None, most: int = MOST) -> Iterator[Bounded]:
    """Each operation keeps each claim, on all trees of each size."""
    operations = {**OPERATIONS, **(WRONG[wrong][1] if wrong else {})}
    for size in range(1, most + 1):
        for name, operation in operations.items():
            for slug in CLAIMS:
                yield Bounded(f"{name} (of {size})", slug, _text(size, operation, slug))


def _text(size: int, operation: Operation, slug: str) -> str:
    """All trees of one size in one text: the solver chooses the tree, the node and the numbers."""
    cases = []
    declared = ""
    for parents in trees(size):
        s, assumed = before(parents)
        declared = "".join(f"{line}\n" for line in assumed.splitlines() if "declare" in line)
        held = [line[8:-1] for line in assumed.splitlines() if line.startswith("(assert ")]
        happens = [
            f"(and {h.guard} (not {h.after.claims()[slug]}))"
            for n in range(size)
            for h in operation(s, n)
        ]
        cases.append(f"(and {' '.join(held)} (or {' '.join(happens)}))")
    return f"{declared}(assert (or {' '.join(cases)}))\n"


# Terms


def _counted(s: Numbers, n: int, path: list[int], window: list[int], sign: str) -> Numbers:
    """Counts of the path and the window one up or down, sizes moved where a count left or met 0."""
    anchored = _set(s.anchored, n, f"({sign} {s.anchored[n]} 1)")
    locks, evictable, protected = dict(s.lock), dict(s.evictable), dict(s.protected)
    for c, nodes in (("full", path), ("swa", window)):
        edge = "0" if sign == "+" else "1"
        moved = _sum(
            f"(ite (and {s.device[c][i]} (= {s.lock[c][i]} {edge})) {s.length[i]} 0)" for i in nodes
        )
        other = "-" if sign == "+" else "+"
        evictable[c] = f"({other} {s.evictable[c]} {moved})"
        protected[c] = f"({sign} {s.protected[c]} {moved})"
        for i in nodes:
            locks[c] = _set(locks[c], i, f"({sign} {s.lock[c][i]} 1)")
    return replace(s, anchored=anchored, lock=locks, evictable=evictable, protected=protected)


def _moved(s: Numbers, n: int, c: str, there: str, sign: str, locked: bool) -> Numbers:
    """A value comes or goes, and one of the sizes with it."""
    device = {**s.device, c: _set(s.device[c], n, there)}
    if locked:
        return replace(
            s,
            device=device,
            protected={**s.protected, c: f"({sign} {s.protected[c]} {s.length[n]})"},
        )
    return replace(
        s, device=device, evictable={**s.evictable, c: f"({sign} {s.evictable[c]} {s.length[n]})"}
    )


def _parted(s: Numbers, n: int, upper: dict[str, str]) -> Numbers:
    """The node's upper part as a node of its own, numbered last."""
    new = len(s.parents)
    return replace(
        s,
        parents=(*_set(s.parents, n, new), s.parents[n]),
        length=(*_set(s.length, n, f"(- {s.length[n]} cut)"), "cut"),
        anchored=(*s.anchored, "0"),
        lock={c: (*s.lock[c], upper[c]) for c in COMPONENTS},
        device={c: (*s.device[c], s.device[c][n]) for c in COMPONENTS},
    )


def _set(values: Sequence[T], place: int, new: T) -> tuple[T, ...]:
    return (*values[:place], new, *values[place + 1 :])


def _and(parts: Iterator[str] | Sequence[str]) -> str:
    return f"(and true {' '.join(parts)})"


def _sum(parts: Iterator[str] | Sequence[str]) -> str:
    return f"(+ 0 0 {' '.join(parts)})"
