"""What is kept, what is evicted, and who is the most recent."""

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.checks.compare import Comparisons
from radixproof.stateful_tests.export.parts.state import State


class RetentionChecks(Comparisons):
    def evicting_a_backed_up_leaf_demotes_it(
        self, cache: Cache, before: State, after: State
    ) -> None:
        evicted = before.on("device") - after.on("device")
        lost = (evicted & before.on("host")) - after.on("host")
        self.assertEqual(lost, set(), "backed up, evicted, and not on the host any more")

    def write_back_loses_nothing_with_room(self, cache: Cache, before: State, after: State) -> None:
        evicted = before.on("device") - after.on("device")
        self.assertEqual(evicted - after.on("host"), set(), "evicted and not on the host")

    def only_host_eviction_loses_host_data(self, cache: Cache, before: State, after: State) -> None:
        self.survives("host", before, after)

    def only_device_eviction_loses_device_data(
        self, cache: Cache, before: State, after: State
    ) -> None:
        self.survives("device", before, after)

    def only_eviction_removes_nodes(self, cache: Cache, before: State, after: State) -> None:
        ends = {(s.namespace, p) for s in after.nodes for p in s.prefixes()}
        gone = [s.tokens for s in before.nodes if (s.namespace, s.tokens) not in ends]
        self.assertEqual(gone, [], "nodes that are gone")

    def what_is_not_used_keeps_its_place(self, cache: Cache, before: State, after: State) -> None:
        parts = {(s.namespace, s.tokens): s.prefixes() for s in before.nodes}
        rank = {(name[0], p): i for i, name in enumerate(before.recent["SWA"]) for p in parts[name]}
        space, key = cache.used
        unused = [n for n in after.recent["SWA"] if n[0] != space or key[: len(n[1])] != n[1]]
        order = [rank[name] for name in unused if name in rank]
        self.assertEqual(order, sorted(order), f"old places in the SWA list of {unused}")

    def eviction_makes_progress(self, cache: Cache, before: State, after: State) -> None:
        for component, asked in cache.asked.items():
            there = sum(
                k[:2] == (component, "device") and not before.locks[k] for k in before.slots
            )
            freed = len(after.free[component, "device"]) - len(before.free[component, "device"])
            told = f"{component} slots freed, of {asked} asked and {there} that nobody held"
            self.assertGreaterEqual(freed, min(asked, there), told)

    def host_eviction_touches_no_device_data(
        self, cache: Cache, before: State, after: State
    ) -> None:
        self.same_slots(before, after, "device")

    def a_match_changes_only_recency_and_one_split(
        self, cache: Cache, before: State, after: State
    ) -> None:
        self.same_slots(before, after, "device", "host")
        self.assertLessEqual(len(after.nodes), len(before.nodes) + 1, "nodes after a match")

    def a_split_moves_no_data(self, cache: Cache, before: State, after: State) -> None:
        self.same_slots(before, after, "device", "host")

    def a_refused_insert_changes_nothing(self, cache: Cache, before: State, after: State) -> None:
        self.same_slots(before, after, "device", "host")
        free = [{k: sorted(x) for k, x in s.free.items()} for s in (before, after)]
        self.assertEqual(free[1], free[0], "free slots, now and before")

    def locks_move_no_data(self, cache: Cache, before: State, after: State) -> None:
        self.same_slots(before, after, "device", "host")

    def observing_moves_no_data(self, cache: Cache, before: State, after: State) -> None:
        self.same_slots(before, after, "device", "host")

    def an_aborted_request_caches_nothing(self, cache: Cache, before: State, after: State) -> None:
        self.same_slots(before, after, "device", "host")
