"""Page digests, kept per node and cut by splits, and the KV events they name (6.12, 6.14)."""

from __future__ import annotations

import struct
from hashlib import sha256

from radixproof.impl.torch_cache.core import Core
from radixproof.impl.torch_cache.node import Node
from radixproof.model.blocks import CLEARED, REMOVED, STORED, Event
from radixproof.model.units import BITS

_PAIR_LOW = (1 << BITS) - 1


class Hashes(Core):
    """Digests are computed on first use, one per page of a node, after its parent's last."""

    def _digests(self, node: Node) -> list[bytes]:
        """The node's page digests; unhashed ancestors are hashed first, from the root down."""
        chain = [n for n in reversed(node.upwards()) if n.digests is None]
        for n in chain:
            n.digests = self._hash_pages(n, self._digest_above(n))
        assert node.digests is not None, "just computed"
        return node.digests

    def _digest_above(self, node: Node) -> bytes:
        """What the first page of a node follows: the namespace at the root (U-17)."""
        if node.above.is_root:
            return sha256(node.namespace.encode()).digest() if node.namespace else b""
        above = node.above.digests
        assert above is not None, "hashed from the root down"
        return above[-1]

    def _hash_pages(self, node: Node, previous: bytes) -> list[bytes]:
        digests = []
        for begin in range(0, len(node.key), self.page):
            hasher = sha256(previous)
            for unit in node.key[begin : begin + self.page]:
                first = unit >> BITS
                raw = (first - 1, unit & _PAIR_LOW) if first else (unit,)
                hasher.update(struct.pack(f"<{len(raw)}I", *raw))
            previous = hasher.digest()
            digests.append(previous)
        return digests

    # Events

    def _emit_stored(self, medium: str, *nodes: Node) -> None:
        """The nodes' FULL data is on a medium from now on; parents first."""
        for node in nodes if self.config.kv_events else ():
            digests = self._digests(node)
            before = self._digest_above(node)
            parent = None if node.start == 0 else _name(before)
            for page, digest in enumerate(digests):
                tokens = node.key[page * self.page : (page + 1) * self.page]
                self.events.append(Event(STORED, medium, _name(digest), parent, tokens))
                parent = _name(digest)

    def _emit_removed(self, medium: str, node: Node) -> None:
        """The node's FULL data leaves a medium; the deepest page first."""
        for digest in reversed(self._digests(node)) if self.config.kv_events else ():
            self.events.append(Event(REMOVED, medium, _name(digest)))

    def _emit_cleared(self) -> None:
        if self.config.kv_events:
            self.events.append(Event(CLEARED))


def _name(digest: bytes) -> int:
    (number,) = struct.unpack(">q", digest[:8])
    return int(number)
