"""What a checked step costs beside bare Hypothesis, and where its time goes."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from radixproof.benchmarks.bare import bare_machine
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.stateful_tests.machine import machine_for
from radixproof.stateful_tests.profiles import PROFILES, machine_settings

PARTS = ("model", "subject", "snapshot", "agreement", "invariants")


def run(seed: int = 0, rounds: int = 10) -> dict[str, Any]:
    """Alternate batches of the side-by-side machine and of the bare one.

    ``ratio``: checked steps per second of the former over steps per second of the latter.
    ``shares``: of the former's time; ``hypothesis`` is what the measured parts leave, generation
    of operations included.
    """
    settings = machine_settings(PROFILES["quick"], database=False)
    spent = dict.fromkeys((*PARTS, "checked", "bare"), 0.0)
    steps = {"checked": 0, "bare": 0}

    def add(part: str, seconds: float) -> None:
        spent[part] += seconds

    for number in range(rounds + 1):
        checked = machine_for(open_torch, clock=add)
        bare = bare_machine()
        for name, machine in (("checked", checked), ("bare", bare)):
            seeded(seed * 1_000_003 + number)(machine)
            begin = perf_counter()
            run_state_machine_as_test(machine, settings=settings)
            add(name, perf_counter() - begin)
        if number == 0:  # warms up imports and caches
            spent.update(dict.fromkeys(spent, 0.0))
            continue
        steps["checked"] += checked.coverage.steps
        steps["bare"] += bare.steps
    rates = {name: steps[name] / spent[name] for name in ("checked", "bare")}
    shares = {part: spent[part] / spent["checked"] for part in PARTS}
    shares["hypothesis"] = 1 - sum(shares.values())
    return {
        "benchmark": "harness",
        "seed": seed,
        "steps": steps,
        "ratio": rates["checked"] / rates["bare"],
        "shares": shares,
        "timing": {f"{name}_steps_per_second": rate for name, rate in rates.items()},
    }
