"""What a look at the tree of a release yields, whatever its core is made of.

Nodes are named by their index in depth-first order, siblings by (namespace, key). Looking changes
no decision of the core. What a core does not show is left at a neutral value and named by an option
(model/options.py); whatever needs it is then reported as not checked.
"""

from __future__ import annotations

from typing import Any, Protocol

from radixproof.model.snapshot import Node, Slots


class Tree(Protocol):
    """One look. ``component`` is a name of model/config.py."""

    parents: list[int]
    """By index: of the node whose children hold this one; ``ROOT`` at the top."""
    spelled: list[tuple[int, ...]]
    """By index: the whole prefix."""

    def of(self, node: Any) -> int:
        """Index of what the release calls a node; ``ROOT``; ``DETACHED``: it is not there."""
        ...

    def start(self, index: int) -> int:
        """Position of a node's first token."""
        ...

    def node_at(self, namespace: str, tokens: tuple[int, ...]) -> Any:
        """The release's handle of the node that spells ``tokens``; ``None``: there is none."""
        ...

    def device(self, index: int, component: str) -> Slots | None:
        """Device slots of a node."""
        ...

    def marked(self, anchor: int, component: str, mark: Any, *, host: bool) -> int | None:
        """First token of the node, from ``anchor`` upwards, that bears a receipt's mark.

        0: the walk reached the root; ``None``: the core does not show marks.
        """
        ...

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in order."""
        ...

    def hashes(self) -> tuple[tuple[str, ...] | None, ...]:
        """By index: the page hashes of a node; ``None``: it has none."""
        ...

    def tracking(self) -> dict[str, Any]:
        """The other fields of a ``Snapshot`` that the core maintains, by name."""
        ...
