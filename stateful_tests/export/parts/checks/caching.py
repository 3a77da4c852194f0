"""What inserts, requests and load-backs bring to the device."""

from itertools import pairwise

from sglang.srt.mem_cache.base_prefix_cache import MatchResult

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.checks.compare import Comparisons
from radixproof.stateful_tests.export.parts.state import State, prefixes


class CachingChecks(Comparisons):
    def an_inserted_key_is_on_device(self, cache: Cache, before: State, after: State) -> None:
        namespace, tokens = cache.inserted
        missing = [p for p in prefixes(tokens) if (namespace, p) not in after.on("device")]
        self.assertEqual(missing, [], "inserted, and not on the device")

    def a_fresh_leaf_covers_one_window(self, cache: Cache, before: State, after: State) -> None:
        longest = cache.window + -cache.window % cache.page_size
        above = {s.parent for s in after.nodes}
        for i, seen in enumerate(after.nodes):
            name = (seen.namespace, seen.tokens)
            fresh = name not in before.on("device") | before.on("host")
            if fresh and i not in above and name in after.on("device", "SWA"):
                self.assertLessEqual(len(seen.node.key), longest, f"SWA of leaf {seen.tokens}")

    def a_load_back_respects_its_quota(self, cache: Cache, before: State, after: State) -> None:
        locked = {k for k in before.slots if k[:2] == ("FULL", "device") and not before.locks[k]}
        pinned = sum(after.locks.get(k, 0) > 0 for k in locked)
        taken = self.loaded(before, after)["FULL"]
        if taken:
            self.assertLessEqual(taken + pinned, cache.quota, f"{taken} loaded, {pinned} pinned")

    def a_load_back_with_room_evicts_nothing(
        self, cache: Cache, before: State, after: State
    ) -> None:
        need = self.loaded(before, after)
        if all(len(before.free[c, "device"]) >= n for c, n in need.items()):
            self.survives("device", before, after)

    def a_load_back_takes_the_least_recent_windows(
        self, cache: Cache, before: State, after: State
    ) -> None:
        need = self.loaded(before, after)
        self.assertGreater(need["SWA"], 0, "the load-back was refused")
        kept = [name in after.on("device", "SWA") for name in before.recent["SWA"]]
        free = [
            before.locks["SWA", "device", *name] == 0
            and after.locks.get(("SWA", "device", *name), 0) == 0
            for name in before.recent["SWA"]
        ]
        order = [k for k, unlocked in zip(kept, free, strict=True) if unlocked]
        for recent, older in pairwise(order):
            self.assertFalse(older and not recent, "an older window stayed, a newer one went")

    def an_insert_recovers_swa_inside_the_window(
        self, cache: Cache, before: State, after: State
    ) -> None:
        space, key = cache.inserted
        inside = [p for p in prefixes(key) if len(p) > cache.swa_evicted]
        missing = [p for p in inside if (space, p) not in after.on("device", "SWA")]
        self.assertEqual(missing, [], "inserted inside the window, and without SWA")

    def a_finished_request_is_cached(self, cache: Cache, before: State, after: State) -> None:
        self.is_cached(cache, after)

    def a_prefilled_chunk_is_cached_and_held(
        self, cache: Cache, before: State, after: State
    ) -> None:
        row = cache.acting.row.tolist()[: self.is_cached(cache, after)]
        space, units = cache.acting.namespace, cache.units(cache.acting.tokens)
        owned = [after.slots["FULL", "device", space, units[: i + 1]] for i in range(len(row))]
        self.assertEqual(row, owned, "the slots of the request, and those of the tree")

    def is_cached(self, cache: Cache, after: State) -> int:
        """How many of the tokens that a request has computed should be in the tree, and are."""
        request = cache.acting
        done = request.committed
        if cache.arguments.strip_thinking_cache and request not in cache.running:
            done = min(done, request.prompt)
        units = cache.units(request.tokens[:done])
        whole = len(units) // cache.page_size * cache.page_size
        if request in cache.running and "swa_branching_seqlen" in MatchResult._fields:
            whole = request.protected()  # a chunk may end where another window begins
        wanted = {(request.namespace, p) for p in prefixes(units[:whole])}
        self.assertEqual(wanted - after.on("device"), set(), "computed, and not in the tree")
        return whole

    def the_state_of_what_was_computed_is_cached(
        self, cache: Cache, before: State, after: State
    ) -> None:
        request = cache.acting
        name = (request.namespace, request.tokens[: request.committed])
        self.assertIn(name, after.on("device", "MAMBA"), "prefixes with a state on the device")
