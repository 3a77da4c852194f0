"""The framework-free random walk: same operations, same oracles, no Hypothesis; for long soaks."""

from __future__ import annotations

from random import Random

from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.choose import Chooser, RandomChooser
from radixproof.stateful_tests.configs import ANY, Limits, draw_config
from radixproof.stateful_tests.enabled import Situation, draw_operation, draw_style, draw_weights
from radixproof.stateful_tests.illegal import draw_illegal
from radixproof.stateful_tests.lockstep import Clock, Coverage, Lockstep
from radixproof.stateful_tests.verdict import Counterexample

STEPS = 50
ILLEGAL_PERCENT = 4
"""Share of calls that must be refused."""


def next_operation(s: Situation, choose: Chooser) -> Operation:
    """A legal operation, or now and then one that must be refused."""
    if choose.chance(ILLEGAL_PERCENT):
        return draw_illegal(s, choose)
    return draw_operation(s, choose)


def walk(
    open_subject: OpenSubject,
    seed: int,
    *,
    steps: int = STEPS,
    limits: Limits = ANY,
    config: CacheConfig | None = None,
    agreement: bool = True,
    relation: bool = False,
    coverage: Coverage | None = None,
    clock: Clock | None = None,
) -> Counterexample | None:
    """One run of ``steps`` operations on a configuration drawn from ``seed``."""
    choose = RandomChooser(Random(seed))
    run = Lockstep(
        config or draw_config(choose, limits),
        open_subject,
        agreement=agreement,
        relation=relation,
        clock=clock,
    )
    situation = draw_style(choose, run.state)
    situation.weights = draw_weights(choose, situation.late)
    try:
        for _ in range(steps):
            situation.state = run.state
            found = run.step(next_operation(situation, choose))
            if found is not None:
                return found
    finally:
        covered = run.close()
        if coverage is not None:
            coverage.add(covered)
    return None
