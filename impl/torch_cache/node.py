"""A radix node and its values per component (domain.md 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from radixproof.impl.torch_cache.lru import Link
from radixproof.model.config import FULL, SWA

Label = tuple[str, tuple[int, ...]]


@dataclass(slots=True, eq=False)
class Receipt:
    """A live lock: which segment of the anchor's path was counted, per component.

    FULL is counted from the anchor up to ``full_top`` (device: to the root's child), SWA from
    the anchor up to ``swa_top``; ``None``: not counted. Tops move up when their node is split.
    ``state``: MAMBA is counted on the anchor, which a split leaves where it is.
    """

    tier: str
    owner: str
    name: str
    anchor: Node
    full_top: Node | None
    swa_top: Node | None
    state: bool


@dataclass(slots=True, eq=False)
class Value:
    """One component's data on one node: its slots (a token's KV each, or one state), who holds
    them, and the node's places in the component's recency lists.
    """

    link: Link
    host_link: Link
    device: Tensor | None = None
    host: Tensor | None = None
    lock: int = 0
    host_lock: int = 0


class Node:
    """A run of tokens below its parent; ``start`` is the position of its first token."""

    __slots__ = (
        "accessed",
        "children",
        "created",
        "digests",
        "full",
        "hit",
        "id",
        "key",
        "mamba",
        "namespace",
        "parent",
        "pending",
        "priority",
        "start",
        "swa",
        "tops",
    )

    def __init__(
        self, id: int, namespace: str, key: tuple[int, ...], parent: Node | None, now: int
    ) -> None:
        self.id = id
        self.namespace = namespace
        self.key = key
        self.parent = parent
        self.start = parent.end if parent is not None else 0
        self.children: dict[Label, Node] = {}
        self.full = Value(Link(self), Link(self))
        self.swa = Value(Link(self), Link(self))
        self.mamba = Value(Link(self), Link(self))
        self.hit = 0
        self.priority = 0
        self.accessed = (now, 0)
        self.created = now
        self.pending: int | None = None
        self.digests: list[bytes] | None = None
        """One per page, once somebody asked for them."""
        self.tops: list[Receipt] = []
        """Receipts one of whose segments ends here, at its top."""

    @property
    def end(self) -> int:
        return self.start + len(self.key)

    @property
    def is_root(self) -> bool:
        return self.parent is None

    def value(self, component: str) -> Value:
        return self.full if component == FULL else self.swa if component == SWA else self.mamba

    def label(self, page_size: int) -> Label:
        return (self.namespace, self.key[:page_size])

    @property
    def above(self) -> Node:
        """The parent of a node that is not the root."""
        assert self.parent is not None, "the root has no parent"
        return self.parent

    def upwards(self) -> list[Node]:
        """The node, its parent, ... down to and including the root's child."""
        nodes = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes


@dataclass(slots=True, eq=False)
class Copy:
    """What a transfer moves of one component: equally long slot lists, in token order."""

    component: str
    device: Tensor
    host: Tensor


@dataclass(slots=True, eq=False)
class Transfer:
    """One backup or load-back, from enqueue to acknowledgement.

    ``nodes``: root to leaf, those whose data it gives or gets; a split adds its upper part.
    """

    id: int
    node: Node
    nodes: list[Node]
    copies: list[Copy]
    receipts: list[Receipt] = field(default_factory=list)
