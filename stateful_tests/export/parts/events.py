"""What the events of a cache tell of its blocks, of traces without namespaces."""

from typing import Any

from radixproof.stateful_tests.export.parts.cache import Cache


def told(cache: Cache) -> dict[str, set[tuple[Any, ...]]]:
    """Medium -> the prefixes whose last block is there, by all events since the last call."""
    there: dict[str, set[tuple[Any, ...]]] = {"GPU": set(), "CPU": set()}
    ends: dict[Any, tuple[Any, ...]] = {}
    for event in cache.tree.take_events():
        if not hasattr(event, "block_hashes"):  # all are cleared
            there = {medium: set() for medium in there}
            continue
        medium = str(getattr(event.medium, "value", event.medium) or "GPU").split("_")[0]
        size, stored = cache.page_size, hasattr(event, "token_ids")
        end = ends.get(event.parent_block_hash, ()) if stored else ()
        for i, block in enumerate(event.block_hashes):
            if stored:
                page = event.token_ids[i * size : (i + 1) * size]
                end += tuple(tuple(t) if isinstance(t, list) else t for t in page)
                ends[block] = end
                there[medium].add(end)
            else:
                there[medium].discard(ends[block])
    return there
