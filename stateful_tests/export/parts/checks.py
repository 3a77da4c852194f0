"""What does not hold on the release, as assertions; each method is named after its invariant.

``before`` and ``after`` are the states around the last call of the test.
"""

import unittest
from collections import Counter
from itertools import pairwise
from typing import Any

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.state import Place, State, contents


class Checks(unittest.TestCase):
    # The tree

    def backup_is_prefix_closed(self, cache: Cache, before: State, after: State) -> None:
        for namespace, prefix in after.on("host"):
            if prefix[:-1]:
                self.assertIn((namespace, prefix[:-1]), after.on("host"), f"above {prefix}")

    def device_data_is_prefix_closed(self, cache: Cache, before: State, after: State) -> None:
        for namespace, prefix in after.on("device"):
            if prefix[:-1]:
                self.assertIn((namespace, prefix[:-1]), after.on("device"), f"above {prefix}")

    def nodes_have_data(self, cache: Cache, before: State, after: State) -> None:
        held = after.on("device") | after.on("host")
        for seen in after.nodes:
            self.assertIn((seen.namespace, seen.tokens), held, "a node without data")

    def host_only_nodes_can_be_reached(self, cache: Cache, before: State, after: State) -> None:
        held = after.on("device") | after.on("host")
        for namespace, prefix in held:
            for end in range(1, len(prefix)):
                self.assertIn((namespace, prefix[:end]), held, f"above {prefix}")

    def host_only_never_follows_device_only(
        self, cache: Cache, before: State, after: State
    ) -> None:
        device, host = after.on("device"), after.on("host")
        for namespace, prefix in host - device:
            if prefix[:-1]:
                self.assertIn((namespace, prefix[:-1]), host, f"above host-only {prefix}")

    def swa_data_needs_full_data(self, cache: Cache, before: State, after: State) -> None:
        for tier in ("device", "host"):
            lonely = after.on(tier, "SWA") - after.on(tier)
            self.assertEqual(lonely, set(), f"SWA without FULL on the {tier}")

    def device_leaf_set_is_exact(self, cache: Cache, before: State, after: State) -> None:
        held = after.on("device")
        above = {s.parent for s in after.nodes if (s.namespace, s.tokens) in held}
        wanted = {
            (s.namespace, s.tokens)
            for i, s in enumerate(after.nodes)
            if (s.namespace, s.tokens) in held
            and i not in above
            and not any(s.data(c).lock_ref for c in cache.components)
        }
        self.assertEqual(self.named(cache.core.evictable_device_leaves, after), wanted)

    def host_leaf_set_is_exact(self, cache: Cache, before: State, after: State) -> None:
        above = {s.parent for s in after.nodes}
        host_only = after.on("host") - after.on("device")
        wanted = {
            (s.namespace, s.tokens)
            for i, s in enumerate(after.nodes)
            if (s.namespace, s.tokens) in host_only
            and i not in above
            and not any(s.data(c).lock_ref or s.data(c).host_lock_ref for c in cache.components)
        }
        self.assertEqual(self.named(cache.core.evictable_host_leaves, after), wanted)

    def named(self, nodes: set[Any], state: State) -> set[tuple[str, tuple[int, ...]]]:
        names = {s.node.id: (s.namespace, s.tokens) for s in state.nodes}
        return {names[n if isinstance(n, int) else n.id] for n in nodes}

    # Slots

    def device_slots_have_one_owner(self, cache: Cache, before: State, after: State) -> None:
        for component in cache.components:
            claims = Counter(after.free[component, "device"])
            claims.update(v for k, v in after.slots.items() if k[:2] == (component, "device"))
            for request in cache.running:
                row, begin = request.row.tolist(), request.protected()
                if component == "SWA":
                    table = cache.allocator.full_to_swa_index_mapping.tolist()
                    row, begin = [table[x] for x in row], max(begin, request.swa_evicted())
                rest = -len(row) % cache.page_size  # of the page that it has begun
                own = [*row, *(row[-1] + 1 + i for i in range(rest))][begin:]
                claims.update(own)
            slots = cache.full_slots if component == "FULL" else cache.swa_slots
            everything = range(cache.page_size, cache.page_size + slots)
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

    # Locks

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

    # Recency

    def what_is_not_used_keeps_its_place(self, cache: Cache, before: State, after: State) -> None:
        parts = {(s.namespace, s.tokens): s.prefixes() for s in before.nodes}
        rank = {(name[0], p): i for i, name in enumerate(before.windows) for p in parts[name]}
        space, key = cache.used
        unused = [n for n in after.windows if n[0] != space or key[: len(n[1])] != n[1]]
        order = [rank[name] for name in unused if name in rank]
        self.assertEqual(order, sorted(order), f"old places in the SWA list of {unused}")

    # Content

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
            wanted = [
                cache.tags[request.namespace, request.tokens[: i + 1]] for i in range(len(row))
            ]
            self.assertEqual([read["FULL"][x] for x in row], wanted, "FULL KV of a request")
            if cache.swa_slots:
                begin = max(0, request.committed - cache.window + 1)
                mapped = cache.allocator.full_to_swa_index_mapping[request.row].tolist()
                mapped = mapped[begin : request.committed]
                self.assertNotIn(0, mapped, "a request lost SWA KV inside its window")
                self.assertEqual([read["SWA"][y] for y in mapped], wanted[begin:], "its window")

    # Nothing is lost

    def hits_at_the_threshold_are_backed_up(
        self, cache: Cache, before: State, after: State
    ) -> None:
        room = {c: len(after.free[c, "host"]) for c in cache.host_pools}
        for seen in after.nodes:
            name = (seen.namespace, seen.tokens)
            hits = seen.node.hit_count
            if name in after.on("host") or name not in after.on("device"):
                continue
            if hits >= cache.tree.write_through_threshold and hits > before.hits.get(name, 0):
                backed_up = [(name[0], p) in after.on("host") for p in prefixes(seen.tokens)]
                missing = backed_up.count(False)
                self.assertGreater(
                    missing,
                    min(room.values()),
                    f"{seen.tokens} has {hits} hits and no host copy, with room for {room}",
                )

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

    def survives(self, tier: str, before: State, after: State) -> None:
        lost = {k for k in before.slots if k[1] == tier and k not in after.slots}
        self.assertEqual(lost, set(), f"on the {tier} before, and not after")

    def only_eviction_removes_nodes(self, cache: Cache, before: State, after: State) -> None:
        ends = {(s.namespace, p) for s in after.nodes for p in s.prefixes()}
        gone = [s.tokens for s in before.nodes if (s.namespace, s.tokens) not in ends]
        self.assertEqual(gone, [], "nodes that are gone")

    # Copies

    def pending_writes_keep_their_source(self, cache: Cache, before: State, after: State) -> None:
        for number, places in after.writes.items():
            was: set[Place] = before.writes.get(number, set())
            self.assertEqual(was - places, set(), f"backup {number} will not publish these")
            for place in places:
                source = ("FULL", "device", *place[2:])
                self.assertGreater(after.locks[source], 0, f"{place} is copied without a lock")
                for at in (place, source) if place in was else ():
                    told = f"backup {number} lost its slot"
                    self.assertEqual(after.slots.get(at), before.slots[at], told)

    def write_back_waits_for_its_copies(self, cache: Cache, before: State, after: State) -> None:
        self.assertEqual(after.writes, {}, "backups are pending under write-back")

    # Events, of traces without namespaces

    def events_tell_what_is_resident(self, cache: Cache, before: State, after: State) -> None:
        told = cache.told()
        copied = {place[2:] for places in after.writes.values() for place in places}
        for medium, held in (("GPU", after.on("device")), ("CPU", after.on("host") - copied)):
            there = {prefix for _, prefix in held if len(prefix) % cache.page_size == 0}
            self.assertEqual(told[medium], there, f"told of {medium}, and there")

    # Inserts

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

    # Load-backs

    def loaded(self, before: State, after: State) -> Counter[str]:
        """Component -> tokens that the load-back brought to the device."""
        new = after.slots.keys() - before.slots.keys()
        return Counter(place[0] for place in new if place[1] == "device")

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
        kept = [name in after.on("device", "SWA") for name in before.windows]
        free = [
            before.locks["SWA", "device", *name] == 0
            and after.locks.get(("SWA", "device", *name), 0) == 0
            for name in before.windows
        ]
        order = [k for k, unlocked in zip(kept, free, strict=True) if unlocked]
        for recent, older in pairwise(order):
            self.assertFalse(older and not recent, "an older window stayed, a newer one went")


def prefixes(tokens: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tokens[: i + 1] for i in range(len(tokens))]
