"""The shape of the tree, and which nodes are where."""

import unittest
from collections import Counter
from typing import Any

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.state import State, Units


class TreeChecks(unittest.TestCase):
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

    def named(self, nodes: set[Any], state: State) -> set[tuple[str, Units]]:
        names = {s.node.id: (s.namespace, s.tokens) for s in state.nodes}
        return {names[n if isinstance(n, int) else n.id] for n in nodes}

    def states_need_full_data(self, cache: Cache, before: State, after: State) -> None:
        for tier in ("device", "host"):
            lonely = after.on(tier, "MAMBA") - after.on(tier)
            self.assertEqual(lonely, set(), f"a state without FULL on the {tier}")

    def keys_are_whole_pages(self, cache: Cache, before: State, after: State) -> None:
        torn = [s.tokens for s in after.nodes if len(s.node.key) % cache.page_size]
        self.assertEqual(torn, [], "nodes whose key is no whole number of pages")

    def parents_and_children_agree(self, cache: Cache, before: State, after: State) -> None:
        for seen in after.nodes:
            parent = after.nodes[seen.parent].node if seen.parent >= 0 else cache.core.root_node
            self.assertIs(seen.node.parent, parent, f"the parent of {seen.tokens}")

    def swa_list_is_exact(self, cache: Cache, before: State, after: State) -> None:
        self.listed("SWA", after)

    def mamba_list_is_exact(self, cache: Cache, before: State, after: State) -> None:
        self.listed("MAMBA", after)

    def listed(self, component: str, after: State) -> None:
        held = [(s.namespace, s.tokens) for s in after.nodes]
        wanted = [name for name in held if name in after.on("device", component)]
        self.assertEqual(sorted(after.recent[component]), sorted(wanted), f"the {component} list")

    def swa_host_list_is_exact(self, cache: Cache, before: State, after: State) -> None:
        self.listed_on_host("SWA", after)

    def mamba_host_list_is_exact(self, cache: Cache, before: State, after: State) -> None:
        self.listed_on_host("MAMBA", after)

    def listed_on_host(self, component: str, after: State) -> None:
        """Until 0.5.22 host-locked nodes may be listed."""
        held = {(s.namespace, s.tokens) for s in after.nodes}
        there = held & (after.on("host", component) - after.on("device", component))
        free = {name for name in there if not after.locks[component, "host", *name]}
        listed = Counter(after.recent_on_host[component])
        self.assertEqual(free - set(listed), set(), f"not in the {component} host list")
        self.assertEqual(set(listed) - there, set(), f"wrongly in the {component} host list")
        self.assertEqual({n for n, k in listed.items() if k > 1}, set(), "listed twice")

    def a_reset_leaves_nothing(self, cache: Cache, before: State, after: State) -> None:
        self.assertEqual(after.nodes, [])
        for component in cache.components:
            free = len(after.free[component, "device"])
            self.assertEqual(free, cache.size_of(component), f"free {component} slots")
