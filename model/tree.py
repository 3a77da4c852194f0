"""The radix tree as a trie of pages (domain.md 2, 4.1, 5.3, 5.4).

A page knows the whole prefix it ends and the slots that hold its data, per pool. A *node* is a
maximal run of pages, and is named by the page at its end, which carries the node's record.
Splitting a node is therefore only a new record in the middle of the run: no data moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from radixproof.model.keys import floor_page

Slots = tuple[int, ...]
Label = tuple[str, tuple[int, ...]]


@dataclass(slots=True)
class Record:
    """What a node has beyond its data; kept at the node's last page."""

    id: int
    created: int
    accessed: tuple[int, int]
    """(tick, -distance from the best match): parents look slightly older (5.1)."""
    hit: int = 0
    priority: int = 0
    pending: int | None = None
    """Id of the write ack that covers the node."""
    recency: dict[str, int] = field(default_factory=dict)
    """Pool of an auxiliary component -> position in its list: larger is more recent.

    Equal for the parts of one node, the lower of which is the more recent. Meaningful while the
    node is in that list (I-18, I-19).
    """


@dataclass(slots=True, eq=False)
class Page:
    """One page of one prefix. ``held[pool]`` are its slots there; absent: not in that pool.

    KV belongs to each page; a MAMBA state belongs to the page whose prefix it summarises, so a
    split leaves it with the lower part without anything being done.
    """

    namespace: str
    tokens: tuple[int, ...]
    above: Page | None
    below: dict[Label, Page] = field(default_factory=dict)
    held: dict[str, Slots] = field(default_factory=dict)
    record: Record | None = None

    @property
    def node(self) -> Record:
        assert self.record is not None, "not the end of a node"
        return self.record


class Tree:
    """The trie with its clocks. A "node" argument is the page that ends the node, or the root."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.clock = 0
        self.recency = 0
        self.ids = 0
        self.on_split: Callable[[Page], object] | None = None
        """Told of each new upper part; only an alternative rule listens (alternatives.py)."""
        self.members: dict[Page, None] = {}
        """Every node below the root; the order means nothing."""
        self.root = Page("", (), None)
        self.root.record = self.new_record()

    # Clocks (5.1)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def front(self) -> int:
        """A recency that puts its bearer in front of every list."""
        self.recency += 1
        return self.recency

    def new_record(self, priority: int = 0) -> Record:
        self.ids += 1
        return Record(self.ids, accessed=(self.tick(), 0), created=self.tick(), priority=priority)

    # Shape

    def pages(self, node: Page) -> list[Page]:
        """The pages of a node, in token order."""
        run: list[Page] = []
        page: Page | None = node
        while page is not None and page is not self.root and (not run or page.record is None):
            run.append(page)
            page = page.above
        return run[::-1]

    def parent(self, node: Page) -> Page:
        """The node (or root) above a node."""
        page = node.above
        while page is not None and page.record is None:
            page = page.above
        assert page is not None, "the root has no parent"
        return page

    def start(self, node: Page) -> int:
        return len(self.parent(node).tokens)

    def length(self, node: Page) -> int:
        return len(node.tokens) - self.start(node)

    def upwards(self, node: Page) -> Iterator[Page]:
        """The node, its parent, ... down to and including the root's child."""
        while node is not self.root:
            yield node
            node = self.parent(node)

    def path(self, node: Page) -> list[Page]:
        """``path(n)``: nodes from the root's child to the node."""
        return list(self.upwards(node))[::-1]

    def end_of(self, page: Page) -> Page:
        """The node that a page belongs to."""
        while page.record is None:
            (page,) = page.below.values()
        return page

    def nodes(self) -> list[Page]:
        """Every node below the root, depth first, siblings by (namespace, key)."""
        return sorted(self.members, key=lambda n: (n.namespace, n.tokens))

    def find(self, namespace: str, tokens: tuple[int, ...]) -> Page | None:
        """The node (or root) that spells exactly ``tokens``."""
        page, _ = self.descend(namespace, tokens)
        return page if page.record is not None and len(page.tokens) == len(tokens) else None

    def descend(self, namespace: str, tokens: tuple[int, ...]) -> tuple[Page, int]:
        """The deepest page that a key reaches, and how many tokens it covers."""
        page, done, size = self.root, 0, self.page_size
        while done < floor_page(len(tokens), size):
            below = page.below.get((namespace, tokens[done : done + size]))
            if below is None:
                break
            page, done = below, done + size
        return page, done

    # Data

    def held(self, node: Page, pool: str) -> Slots | None:
        """The slots of a node in one pool; ``None``: the value is absent."""
        if pool not in node.held:
            return None
        return tuple(chain.from_iterable(p.held[pool] for p in self._bearers(node, pool)))

    def hold(self, node: Page, pool: str, slots: Slots) -> None:
        for i, page in enumerate(self._bearers(node, pool)):
            page.held[pool] = slots[i * self.page_size : (i + 1) * self.page_size]

    def release(self, node: Page, pool: str) -> Slots:
        """Make a value absent; its slots."""
        return tuple(slot for page in self._bearers(node, pool) for slot in page.held.pop(pool))

    def _bearers(self, node: Page, pool: str) -> list[Page]:
        """The pages of a node that hold its value of one pool."""
        return [node] if pool in ("mamba", "host_mamba") else self.pages(node)

    # Change of shape

    def split(self, page: Page) -> Page:
        """End a node at ``page``, in the middle of a run (5.4); the upper part, a new node.

        The lower part keeps its identity. Locks and pending writes cover tokens, so both parts
        have them without anything being done here. Nor is a split a use: in the lists both parts
        stand where the node stood (decision 10).
        """
        lower = self.end_of(page).node
        upper = self.new_record()
        page.record = replace(
            upper,
            hit=lower.hit,
            priority=lower.priority,
            created=lower.created,
            pending=lower.pending,
            recency=dict(lower.recency),
        )
        self.members[page] = None
        lower.accessed = (self.tick(), 0)
        if self.on_split is not None:
            self.on_split(page)
        return page

    def add_leaf(
        self, parent: Page, namespace: str, tokens: tuple[int, ...], priority: int
    ) -> Page:
        """A new node without data that spells ``tokens``, below ``parent``."""
        page, size = parent, self.page_size
        for done in range(len(parent.tokens), len(tokens), size):
            below = Page(namespace, tokens[: done + size], page)
            page.below[(namespace, tokens[done : done + size])] = below
            page = below
        page.record = self.new_record(priority)
        self.members[page] = None
        return page

    def unlink(self, node: Page) -> None:
        first = self.pages(node)[0]
        above = first.above
        assert above is not None
        del self.members[node]
        del above.below[(first.namespace, first.tokens[-self.page_size :])]
