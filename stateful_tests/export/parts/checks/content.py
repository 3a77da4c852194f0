"""The right data in the right slots."""

import unittest
from typing import Any

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.state import State, contents


class ContentChecks(unittest.TestCase):
    def device_slots_hold_their_prefix(self, cache: Cache, before: State, after: State) -> None:
        cache.run_copies()
        self.holds(cache, "device", after)

    def host_slots_hold_their_prefix(self, cache: Cache, before: State, after: State) -> None:
        cache.run_copies()
        self.holds(cache, "host", after)

    def holds(self, cache: Cache, tier: str, state: State) -> None:
        read = {c: contents(cache, c, tier) for c in cache.components}
        for place, slot in state.slots.items():
            if place[1] == tier:
                component, _, namespace, prefix = place
                wanted = cache.tags[namespace, prefix]
                self.assertEqual(read[component][slot], wanted, f"slot {slot} of {place}")

    def requests_read_their_own_prefix(self, cache: Cache, before: State, after: State) -> None:
        cache.run_copies()
        read = {c: contents(cache, c, "device") for c in cache.components}
        for request in cache.running:
            row = request.row.tolist()[: request.committed]
            units = cache.units((*request.tokens, -1))
            wanted = [cache.tags[request.namespace, units[: i + 1]] for i in range(len(row))]
            self.assertEqual([read["FULL"][x] for x in row], wanted, "FULL KV of a request")
            if cache.swa_slots:
                begin = max(0, request.committed - cache.window + 1)
                mapped = cache.allocator.full_to_swa_index_mapping[request.row].tolist()
                mapped = mapped[begin : request.committed]
                self.assertNotIn(0, mapped, "a request lost SWA KV inside its window")
                self.assertEqual([read["SWA"][y] for y in mapped], wanted[begin:], "its window")

    def requests_go_on_from_their_own_state(
        self, cache: Cache, before: State, after: State
    ) -> None:
        cache.run_copies()
        for request in cache.running:
            self.goes_on_from_its_own_state(cache, request)

    def an_admitted_request_gets_its_prefixs_state(
        self, cache: Cache, before: State, after: State
    ) -> None:
        cache.run_copies()
        self.goes_on_from_its_own_state(cache, cache.acting)

    def goes_on_from_its_own_state(self, cache: Any, request: Any) -> None:
        """What it begins with is copied, loaded or zeroed until its first forward pass."""
        done = request.tokens[: request.committed]
        if request.starts_from_zeros():
            self.assertEqual(done, (), "starts from zeros behind these tokens")
        else:
            slot = request.slot() if request.source() is None else request.source()
            wanted = (request.namespace, done) if done else None
            self.assertEqual(cache.state_in(slot), wanted, f"the state in slot {slot}")
