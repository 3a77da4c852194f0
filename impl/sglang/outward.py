"""What every core of every release shows: sizes, free slots, and what requests read.

For comparing two subjects whose trees cannot be compared node by node, such as a Python and a Rust
core. Slot numbers stay out: they are an allocator's private choice.
"""

from __future__ import annotations

from typing import Any

from radixproof.impl.sglang import fields, payload
from radixproof.impl.sglang.cache import SglangCache
from radixproof.model.config import SWA


def outward(cache: SglangCache) -> dict[str, Any]:
    """Name -> value, comparable between subjects."""
    tree, built, config = cache.tree, cache.built, cache.config
    shown: dict[str, Any] = {}
    for c in config.components:
        shown[f"{c} evictable"] = int(getattr(tree, f"{c}_evictable_size")())
        shown[f"{c} protected"] = int(getattr(tree, f"{c}_protected_size")())
        shown[f"{c} free"] = int(built.device_allocator(c).available_size())
        if config.has_host:
            shown[f"host {c} free"] = int(built.host[c].available_size())
    if built.controller is not None:
        shown["backups pending"] = len(tree.ongoing_write_through)
        shown["loads pending"] = len(tree.ongoing_load_back)
    tags = {c: payload.read(built.layers[c]) for c in config.components}
    for name, running in sorted(cache.requests.items()):
        row = running.row[: running.committed]
        shown[f"request {name} protected"] = fields.protected(running.req)
        shown[f"request {name} reads"] = tuple(tags["full"][x] for x in row.tolist())
        if config.has_swa:
            window = row[max(0, running.committed - config.sliding_window + 1) :]
            mapped = built.allocator.full_to_swa_index_mapping[window].tolist()
            shown[f"request {name} window"] = tuple(tags[SWA][y] if y else None for y in mapped)
    return shown
