"""What the machine reaches of ``model/`` by itself: no test, no corpus (``make coverage``).

The machine and the walks run the specification as a subject, then beside the torch cache (whose
states are compared up to slot numbers), then beside known-wrong caches (whose differences are
told). The trace of every walk is written, read again, and read garbled.
"""

from __future__ import annotations

import sys
from functools import partial
from random import Random

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.alternatives import Rules
from radixproof.model.operations import OPERATIONS
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import dumps, loads
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import draw_config
from radixproof.stateful_tests.enabled import draw_style, draw_weights
from radixproof.stateful_tests.garble import complaint, garbled
from radixproof.stateful_tests.gate import run_gate
from radixproof.stateful_tests.lockstep import Coverage, Lockstep
from radixproof.stateful_tests.profiles import Profile
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.variants_table import hunt
from radixproof.stateful_tests.walk import next_operation, walk

SEED = 1
ALONE = Profile("alone", rounds=6, examples=20, example_steps=50, walks=60, walk_steps=80)
BESIDE_TORCH = Profile(
    "beside torch", rounds=1, examples=5, example_steps=30, walks=40, walk_steps=60
)
WRONG = ("M-1", "M-3", "M-4", "M-8", "M-13", "M-15", "M-46", "M-63")
"""Caught within some hundred steps, and different from one another in where the state differs."""
ALTERNATIVES = (Rules(path_under_write_back=True), Rules(backup_in_split=True))
"""Rules that are not the specification's (decision 11)."""
TRACES = 40
GARBLED = 200
"""Of each trace."""


def main() -> int:
    total = Coverage()
    for open_subject, profile in ((ReferenceModel, ALONE), (open_torch, BESIDE_TORCH)):
        report = run_gate(open_subject, profile, seed=SEED, kept=False)
        if report.counterexample is not None:
            print(f"{profile.name}: {', '.join(report.counterexample.slugs)}")
            return 1
        total.add(report.coverage)
    for id in WRONG:
        found, steps = hunt(VARIANTS[id], SEED)
        print(f"{id} shows in {steps} steps: {found is not None}")
    for rules in ALTERNATIVES:
        steps = differ(partial(ReferenceModel, rules=rules))
        print(f"{rules} differs from the specification after {steps} steps")
    read, refused = traces()
    print(f"{TRACES} traces read back; garbled, {read} were read and {refused} refused")
    print(f"{total.steps} steps, {total.configurations} configurations")
    for name in OPERATIONS:
        kinds = {kind: n for (o, kind), n in sorted(total.outcomes.items()) if o == name}
        print(f"  {name:<16}" + ", ".join(f"{kind} {n}" for kind, n in kinds.items()))
    never = [name for name in OPERATIONS if not total.outcomes[name, "ok"]]
    if never:
        print(f"never performed: {', '.join(never)}")
    return 1 if never else 0


def differ(open_subject: OpenSubject) -> int:
    """Steps of random walks until a subject is not what the specification says."""
    coverage = Coverage()
    seed = SEED
    while walk(open_subject, seed, coverage=coverage) is None:
        seed += 1
    return coverage.steps


def traces() -> tuple[int, int]:
    """Walks of the specification, written, read and garbled; how many of these were read."""
    verdicts = []
    for i in range(TRACES):
        choose = RandomChooser(Random(SEED * 1_000_003 + i))
        run = Lockstep(draw_config(choose), ReferenceModel)
        situation = draw_style(choose, run.state)
        situation.weights = draw_weights(choose, situation.late)
        for _ in range(25):
            situation.state = run.state
            run.perform(next_operation(situation, choose))
        trace = run.trace("walked" if choose.chance(50) else "")
        assert loads(dumps(trace)) == trace
        verdicts += [complaint(garbled(trace, choose)) is None for _ in range(GARBLED)]
        run.close()
    return verdicts.count(True), verdicts.count(False)


if __name__ == "__main__":
    sys.exit(main())
