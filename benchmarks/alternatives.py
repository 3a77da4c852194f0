"""What the rules argued for in the review of upstream PR 25065 would break, and what they cost.

The specification is driven by random walks; the same specification with one rule replaced performs
the same operations, where they are legal for it. Every invariant is evaluated on both.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from radixproof.invariants.checker import IncrementalChecker
from radixproof.model.alternatives import Rules
from radixproof.model.config import WRITE_BACK, WRITE_THROUGH, WRITE_THROUGH_SELECTIVE
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import Limits, draw_config
from radixproof.stateful_tests.enabled import draw_operation, draw_style, draw_weights

ALTERNATIVES = (
    ("ancestors first under write-back, too", Rules(path_under_write_back=True), WRITE_BACK),
    ("backup inside the split", Rules(backup_in_split=True), WRITE_THROUGH),
    ("backup inside the split", Rules(backup_in_split=True), WRITE_THROUGH_SELECTIVE),
)
STEPS = 60
COUNTS = (
    "tokens written",
    "backups refused",
    "host tokens evicted",
    "tokens freed",
    "tokens matched",
    "states with a gap",
)
"""Of the last: a node is backed up and its parent is not, which write-through forbids (I-1)."""


def run(seed: int, walks: int) -> dict[str, Any]:
    """One entry per alternative and policy, over ``walks`` random walks of ``STEPS`` steps."""
    entries = [compare(name, rules, policy, seed, walks) for name, rules, policy in ALTERNATIVES]
    return {"benchmark": "alternatives", "seed": seed, "walks": walks, "alternatives": entries}


def compare(name: str, rules: Rules, policy: str, seed: int, walks: int) -> dict[str, Any]:
    totals: dict[str, Counter[str]] = {"specification": Counter(), "alternative": Counter()}
    broken: Counter[str] = Counter()
    for i in range(walks):
        choose = RandomChooser(Random(seed * 1_000_003 + i))
        config = draw_config(choose, Limits(write_policy=policy, host=True))
        right, other = ReferenceModel(config), ReferenceModel(config, rules)
        checker = IncrementalChecker(other.snapshot())
        situation = draw_style(choose, right.snapshot())
        situation.weights = draw_weights(choose)
        seen: set[str] = set()
        for _ in range(STEPS):
            situation.state = right.snapshot()
            operation = draw_operation(situation, choose)
            for who, model in (("specification", right), ("alternative", other)):
                outcome = model.apply(operation)
                state = model.snapshot()
                totals[who]["tokens freed"] += outcome.values.get("freed_full", 0)
                totals[who]["tokens matched"] += outcome.values.get("best_match", 0)
                totals[who]["states with a gap"] += has_gap(state)
            violations = checker.step(operation, outcome, state)
            seen |= {f"{v.number} {v.slug}" for v in violations}
        broken.update(seen)
        for who, model in (("specification", right), ("alternative", other)):
            totals[who] += model.state.tally
    return {
        "alternative": name,
        "policy": policy,
        "counts": {who: {c: total[c] for c in COUNTS} for who, total in totals.items()},
        "walks_that_break": dict(broken.most_common()),
    }


def has_gap(state: Snapshot) -> bool:
    """Whether a host copy cannot be reached over host copies alone."""
    inner = [n for n in state.nodes if n.backuped and n.parent >= 0]
    return any(not state.nodes[n.parent].backuped for n in inner)


def table(result: dict[str, Any]) -> str:
    """The counts side by side, and what broke in how many walks."""
    lines = []
    for entry in result["alternatives"]:
        lines.append(f"{entry['alternative']} ({entry['policy']}), {result['walks']} walks")
        for count in COUNTS:
            right, other = (entry["counts"][w][count] for w in ("specification", "alternative"))
            lines.append(f"  {count:<22}{right:>9}{other:>9}{other / max(right, 1):>8.2f}x")
        for name, walks in entry["walks_that_break"].items():
            lines.append(f"  broken in {walks} walks: {name}")
        if not entry["walks_that_break"]:
            lines.append("  nothing broken")
    return "\n".join(lines)
