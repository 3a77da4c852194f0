"""Who owns which slot, and which slots belong together."""

import unittest
from collections import Counter

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.state import State


class SlotChecks(unittest.TestCase):
    def device_slots_have_one_owner(self, cache: Cache, before: State, after: State) -> None:
        for component in cache.components:
            claims = Counter(after.free[component, "device"])
            claims.update(v for k, v in after.slots.items() if k[:2] == (component, "device"))
            for request in cache.holders():
                if component == "MAMBA":
                    claims.update(x for x in (request.slot(),) if x is not None)
                    continue
                row, begin = request.row.tolist(), request.protected()
                if component == "SWA":
                    table = cache.allocator.full_to_swa_index_mapping.tolist()
                    row, begin = [table[x] for x in row], max(begin, request.swa_evicted())
                rest = -len(row) % cache.page_size  # of the page that it has begun
                own = [*row, *(row[-1] + 1 + i for i in range(rest))][begin:]
                claims.update(own)
            everything = range(cache.page_size, cache.page_size + cache.size_of(component))
            wrong = {x: claims[x] for x in {*everything, *claims} if claims[x] != 1}
            self.assertEqual(wrong, {}, f"{component} slots without exactly one owner")
            self.assertEqual(set(claims), set(everything), f"{component} slots")

    def host_slots_have_one_owner(self, cache: Cache, before: State, after: State) -> None:
        for component, pool in cache.host_pools.items():
            claims = Counter(after.free[component, "host"])
            claims.update(v for k, v in after.slots.items() if k[:2] == (component, "host"))
            wrong = {x: claims[x] for x in {*range(pool.size), *claims} if claims[x] != 1}
            self.assertEqual(wrong, {}, f"{component} host slots without exactly one owner")

    def map_agrees_with_live_swa_data(self, cache: Cache, before: State, after: State) -> None:
        table = cache.allocator.full_to_swa_index_mapping.tolist()
        for place, slot in after.slots.items():
            if place[:2] == ("SWA", "device"):
                full = after.slots["FULL", "device", *place[2:]]
                self.assertEqual(table[full], slot, f"the map of FULL slot {full} of {place}")

    def tombstones_are_unmapped(self, cache: Cache, before: State, after: State) -> None:
        table = cache.allocator.full_to_swa_index_mapping.tolist()
        for space, prefix in after.on("device") - after.on("device", "SWA"):
            full = after.slots["FULL", "device", space, prefix]
            self.assertEqual(table[full], 0, f"the map of FULL slot {full} of {prefix}")

    def free_slots_are_unmapped(self, cache: Cache, before: State, after: State) -> None:
        table = cache.allocator.full_to_swa_index_mapping.tolist()
        mapped = [x for x in after.free["FULL", "device"] if table[x]]
        self.assertEqual(mapped, [], "free FULL slots that lead to SWA slots")

    def sizes_add_up(self, cache: Cache, before: State, after: State) -> None:
        for component in cache.components:
            held = [k for k in after.slots if k[:2] == (component, "device")]
            protected = sum(after.locks[k] > 0 for k in held)
            told = [
                getattr(cache.tree, f"{component.lower()}_{kind}_size")()
                for kind in ("evictable", "protected")
            ]
            self.assertEqual(told, [len(held) - protected, protected], component)
