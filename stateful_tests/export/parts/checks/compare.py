"""What several assertions compare: the states around the last call of the test."""

import unittest
from collections import Counter

from radixproof.stateful_tests.export.parts.state import State


class Comparisons(unittest.TestCase):
    def survives(self, tier: str, before: State, after: State) -> None:
        lost = {k for k in before.slots if k[1] == tier and k not in after.slots}
        self.assertEqual(lost, set(), f"on the {tier} before, and not after")

    def loaded(self, before: State, after: State) -> Counter[str]:
        """Component -> tokens that the load-back brought to the device."""
        new = after.slots.keys() - before.slots.keys()
        return Counter(place[0] for place in new if place[1] == "device")

    def same_slots(self, before: State, after: State, *tiers: str) -> None:
        """Splits move nothing: a place is the prefix that a token ends."""
        for tier in tiers:
            was, now = ({k: v for k, v in s.slots.items() if k[1] == tier} for s in (before, after))
            self.assertEqual(now, was, f"slots on the {tier}, now and before")
