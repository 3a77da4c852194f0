"""Walks on a release: operations drawn from its own state, then everything is given back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from radixproof.model.config import CacheConfig
from radixproof.stateful_tests.choose import Chooser, RandomChooser
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.enabled import Situation, draw_style, draw_weights
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.draw import storage
from radixproof.stateful_tests.sglang.draw.operation import draw_legal, draw_together
from radixproof.stateful_tests.sglang.draw.server import Shape, draw_server
from radixproof.stateful_tests.sglang.endings import Run, wind_down
from radixproof.stateful_tests.sglang.legal.use import shares_blocks
from radixproof.stateful_tests.sglang.ranked import RankedRun
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.verdict import Counterexample

STEPS = 60
_ASKING = {"admit": 12, "prepare": 5, "proceed": 10, "prefill": 8, "insert": 6}
"""Weights between rounds: mostly requests, since it is they who ask."""
_ARRIVING = {"admit": 12, "prefill": 12, "insert": 0, "load_back": 0, "evict": 5}
"""Weights of a decode server."""


def walk(
    run: Run, choose: Chooser, *, steps: int = STEPS, style: Situation | None = None
) -> Counterexample | None:
    """``steps`` operations drawn from the subject's own state, then everything is given back."""
    situation = style or draw_style(choose, run.state)
    if shares_blocks(run.state) or storage.shares_pages(run.state):
        situation.namespaces = ("",)
    situation.weights = situation.weights or draw_weights(choose)
    if run.state.storage is not None:
        situation.weights = storage.patient(situation.weights)
        steps *= storage.LONGER
    if run.state.config.max_new_tokens:
        situation.weights |= _ASKING
    if run.state.config.decode_server:
        situation.weights |= _ARRIVING
    slow = choose.pick((None, *range(run.config.ranks))) if isinstance(run, RankedRun) else None
    for _ in range(steps):
        situation.state = run.state
        if run.state.storage is not None:
            storage.remember(situation)
        if isinstance(run, RankedRun):
            operation = draw_together(situation, choose, run, slow)
        else:
            operation = draw_legal(situation, choose, run.reach)
        found = run.step(operation)
        if found is not None:
            return found
    return wind_down(run)


MakeRun = Callable[[CacheConfig, Reach], Run]


def one_walk(
    make: MakeRun,
    seed: int,
    limits: Limits,
    shape: Shape,
    *,
    steps: int = STEPS,
    reach: Reach = DEFAULT,
    coverage: Coverage | None = None,
) -> Counterexample | None:
    """One run on a configuration of its own, all from ``seed``."""
    choose = RandomChooser(Random(seed))
    run = make(draw_server(choose, limits, shape), reach)
    try:
        return walk(run, choose, steps=steps)
    finally:
        covered = run.close()
        if coverage is not None:
            coverage.add(covered)
