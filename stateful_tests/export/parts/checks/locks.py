"""Locks, and what they keep."""

import unittest
from collections import Counter

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.state import State, prefixes


class LockChecks(unittest.TestCase):
    def lock_counts_are_not_negative(self, cache: Cache, before: State, after: State) -> None:
        self.assertEqual({k: n for k, n in after.locks.items() if n < 0}, {})

    def full_locks_are_upward_closed(self, cache: Cache, before: State, after: State) -> None:
        below = Counter[int]()
        for seen in after.nodes:
            below[seen.parent] += seen.data("FULL").lock_ref
        for i, seen in enumerate(after.nodes):
            self.assertGreaterEqual(seen.data("FULL").lock_ref, below[i], f"{seen.tokens}")

    def swa_locks_never_exceed_full_locks(self, cache: Cache, before: State, after: State) -> None:
        for seen in after.nodes:
            locks = seen.data("SWA").lock_ref, seen.data("FULL").lock_ref
            self.assertLessEqual(*locks, f"SWA and FULL locks of {seen.tokens}")

    def locked_device_data_stays(self, cache: Cache, before: State, after: State) -> None:
        self.stays("device", before, after)

    def host_locked_data_stays(self, cache: Cache, before: State, after: State) -> None:
        self.stays("host", before, after)

    def stays(self, tier: str, before: State, after: State) -> None:
        for place, slot in before.slots.items():
            if place[1] == tier and before.locks[place] > 0:
                self.assertEqual(after.slots.get(place), slot, f"the slot of locked {place}")

    def receipts_change_only_for_their_owner(
        self, cache: Cache, before: State, after: State
    ) -> None:
        changed = {
            k: (n, after.locks.get(k))
            for k, n in before.locks.items()
            if after.locks.get(k) != n and k[:2] != ("FULL", "host")  # held at its end alone
        }
        self.assertEqual(changed, {}, "nobody locked or unlocked, yet these counts changed")

    def an_early_release_that_is_due_is_made(
        self, cache: Cache, before: State, after: State
    ) -> None:
        swa = [k for k in before.locks if k[:2] == ("SWA", "device")]
        held = [sum(state.locks.get(k, 0) for k in swa) for state in (before, after)]
        self.assertLess(held[1], held[0], "SWA locks after and before")

    def lock_counts_are_sums_of_receipts(self, cache: Cache, before: State, after: State) -> None:
        """Of FULL: each holder of a node locks the path up to the root."""
        tree = cache.tree
        held = [h.anchor() for h in cache.holders()] + [node for node, _ in cache.locks]
        if cache.host_pools:
            held += [entry[0] for entry in tree.ongoing_write_through.values() if entry[1]]
            held += [entry[0] for entry in tree.ongoing_load_back.values()]
        index = {seen.node.id: i for i, seen in enumerate(after.nodes)}
        counts = Counter[int]()
        for node in held:
            i = index.get(node if isinstance(node, int) else node.id, -1)
            while i >= 0:
                counts[i] += 1
                i = after.nodes[i].parent
        for i, seen in enumerate(after.nodes):
            self.assertEqual(seen.data("FULL").lock_ref, counts[i], f"locks of {seen.tokens}")

    def a_running_request_holds_its_prefix(self, cache: Cache, before: State, after: State) -> None:
        nodes = {seen.node.id: seen for seen in after.nodes}
        for request in cache.running:
            last = request.anchor()
            seen = nodes.get(last if isinstance(last, int) else last.id)
            if seen is None:
                continue  # the root has no data
            reads = {"FULL": 0}
            if not request.gave_window_back():
                reads["SWA"] = len(seen.tokens) - cache.window
            for component, begin in reads.items():
                for prefix in prefixes(seen.tokens)[max(0, begin) :]:
                    place = (component, "device", seen.namespace, prefix)
                    if place in after.slots:
                        told = f"locks of {place}, which a request reads"
                        self.assertGreater(after.locks[place], 0, told)

    def nothing_is_held_when_idle(self, cache: Cache, before: State, after: State) -> None:
        self.assertEqual((cache.holders(), cache.locks, after.writes), ([], [], {}), "not idle")
        locked = {place: n for place, n in after.locks.items() if n}
        self.assertEqual(locked, {}, "locked by nobody")
        for component in cache.components:
            held = sum(k[:2] == (component, "device") for k in after.slots)
            free = len(after.free[component, "device"])
            self.assertEqual(held + free, cache.size_of(component), f"{component} slots")

    def state_locks_never_exceed_window_locks(
        self, cache: Cache, before: State, after: State
    ) -> None:
        wider = "SWA" if "SWA" in cache.components else "FULL"
        for seen in after.nodes:
            locks = seen.data("MAMBA").lock_ref, seen.data(wider).lock_ref
            self.assertLessEqual(*locks, f"MAMBA and {wider} locks of {seen.tokens}")
            if wider == "SWA":
                locks = seen.data("MAMBA").host_lock_ref, seen.data("SWA").host_lock_ref
                self.assertLessEqual(*locks, f"MAMBA and SWA host locks of {seen.tokens}")
