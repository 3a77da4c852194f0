"""Copies to the host: which are made, and what they publish."""

import unittest

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.events import told
from radixproof.stateful_tests.export.parts.state import Place, State, prefixes


class BackupChecks(unittest.TestCase):
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

    def events_tell_what_is_resident(self, cache: Cache, before: State, after: State) -> None:
        heard = told(cache)
        copied = {place[2:] for places in after.writes.values() for place in places}
        for medium, held in (("GPU", after.on("device")), ("CPU", after.on("host") - copied)):
            there = {prefix for _, prefix in held if len(prefix) % cache.page_size == 0}
            self.assertEqual(heard[medium], there, f"told of {medium}, and there")

    def a_backed_up_prefix_keeps_its_window_on_the_host(
        self, cache: Cache, before: State, after: State
    ) -> None:
        space, key = cache.inserted
        copied = {place[2:] for places in after.writes.values() for place in places}
        missing = []
        for end in range(len(key), max(0, len(key) - cache.window), -1):
            name = (space, key[:end])
            if name in copied or name not in after.on("device", "SWA"):
                break
            if name not in after.on("host", "SWA"):
                missing.append(name)
        if missing and (space, key) in after.on("host"):
            room = len(after.free["SWA", "host"])
            self.assertGreater(len(missing), room, f"on the device alone, with room for {room}")

    def a_backed_up_prefix_keeps_its_state_on_the_host(
        self, cache: Cache, before: State, after: State
    ) -> None:
        name = cache.inserted
        copied = {place[2:] for places in after.writes.values() for place in places}
        kept = name in after.on("host") - copied and name in after.on("device", "MAMBA")
        if kept and after.free["MAMBA", "host"]:
            self.assertIn(name, after.on("host", "MAMBA"), "prefixes with a state on the host")

    def nothing_is_backed_up_before_its_time(
        self, cache: Cache, before: State, after: State
    ) -> None:
        often = {
            (s.namespace, p)
            for s in after.nodes
            if s.node.hit_count >= cache.tree.write_through_threshold
            for p in prefixes(s.tokens)
        }
        new = after.on("host") - before.on("host")
        self.assertEqual(new - often, set(), "backed up, and not hit often enough")

    def only_what_is_evicted_is_written_back(
        self, cache: Cache, before: State, after: State
    ) -> None:
        new = after.on("host") - before.on("host")
        self.assertEqual(new & after.on("device"), set(), "written back, and still on the device")
