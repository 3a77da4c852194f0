"""What a checked step costs on real SGLang, and where its time goes: FULL+SWA with HiCache."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from time import perf_counter, process_time
from typing import Any

from radixproof.impl.sglang.wheels import Source
from radixproof.model.config import FULL, SWA
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.sglang.judge import Plan
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.sglang.walk import STEPS

SUBJECT = "sglang==0.5.23"
LIMITS = Limits((FULL, SWA), host=True, bigram=False, kv_events=False)
PARTS = ("subject", "own check", "look", "invariants", "ipc", "opening")
"""Measured apart; ``drawing`` is the rest: operations are drawn and their legality is decided.

``subject``: the operations themselves, by the release and by what drives it. ``own check``: its
``sanity_check``. ``look``: reading its state and every byte. ``ipc``: telling the other process
before anything runs, and the way back.
"""
WALKS = 10


class TimedProcess(ReleaseProcess):
    MODULE = "radixproof.benchmarks.sglang_worker"


def run(source: Source, seed: int = 0, rounds: int = 10, walks: int = WALKS) -> dict[str, Any]:
    """Alternate batches of the gate's own walks and of the same walks under a clock.

    All but the steps per second of the gate itself is in processor time of both processes, which
    other load of the machine hardly changes. ``ratio``: time of an operation of the release alone
    over time of a checked step. ``shares``: of the time of a checked step.
    Raises ``Unusable``, ``Died``.
    """
    steps: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    failing = 0
    with TimedProcess(source) as process:
        for number in range(rounds + 1):
            first = (seed * 1_000_003 + number) * walks
            begin = perf_counter()
            checked = _checked(process, first, walks)
            gate = perf_counter() - begin
            begin = process_time()
            timed = _ask(process, _timed(first, walks))
            asking = process_time() - begin
            if number == 0:  # warms up imports and caches
                continue
            failing += timed["failing"]
            steps.update(checked=checked, timed=timed["steps"], alone=timed["operations"])
            _add(seconds, timed, gate=gate, asking=asking)
    return _result(source.name, seed, failing, steps, seconds)


def _checked(process: ReleaseProcess, first: int, walks: int) -> int:
    """Walks as ``check`` runs them, on through whatever they find; the steps they took."""
    plan = Plan(walks, None, LIMITS, wanted=frozenset({"nothing-stops-it"}))
    events = process.ask(plan.command(first, walks, set()))
    return sum(e["steps"] for e in events if e["event"] == "walked")


def _timed(first: int, walks: int) -> dict[str, Any]:
    command = {"do": "timed", "first": first, "count": walks}
    return {**command, "limits": asdict(LIMITS), "steps": STEPS}


def _ask(process: ReleaseProcess, command: Mapping[str, Any]) -> dict[str, Any]:
    (answer,) = process.ask(command)
    return answer


def _add(
    seconds: dict[str, float], timed: Mapping[str, Any], *, gate: float, asking: float
) -> None:
    """``asking``: what the process spends that asks, which is all talk."""
    own = {"gate": gate, "alone": timed["alone"], "whole": timed["judged"] + asking}
    for part, spent in (*timed["spent"].items(), *own.items(), ("ipc", asking)):
        seconds[part] += spent


def _result(
    subject: str, seed: int, failing: int, steps: Counter[str], seconds: Mapping[str, float]
) -> dict[str, Any]:
    shares = {part: seconds[part] / seconds["whole"] for part in PARTS}
    shares["drawing"] = 1 - sum(shares.values())
    checked = steps["timed"] / seconds["whole"]
    alone = steps["alone"] / seconds["alone"]
    return {
        "benchmark": "sglang",
        "subject": subject,
        "seed": seed,
        "steps": dict(steps),
        "failing_walks": failing,
        "ratio": checked / alone,
        "shares": shares,
        "timing": {
            "checked_steps_per_second": steps["checked"] / seconds["gate"],
            "checked_steps_per_processor_second": checked,
            "alone_operations_per_processor_second": alone,
        },
    }


def told(result: Mapping[str, Any]) -> str:
    """The rate, the ratio, and where the time goes."""
    rates, subject = result["timing"], result["subject"]
    lines = [
        f"{subject}, full+swa with a host tier: {result['steps']['checked']} steps checked at"
        f" {rates['checked_steps_per_second']:.0f}/s",
        f"per second of processor time: {rates['checked_steps_per_processor_second']:.0f} checked"
        f" steps, or {rates['alone_operations_per_processor_second']:.0f} operations of the release"
        f" alone: ratio {result['ratio']:.2f}; of a checked step",
    ]
    lines += [f"  {part:<12}{share:>6.1%}" for part, share in result["shares"].items()]
    if result["failing_walks"]:
        lines.append(f"  {result['failing_walks']} walks ended early, in a counterexample")
    return "\n".join(lines)
