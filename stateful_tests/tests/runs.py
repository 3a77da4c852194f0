"""Runs of the specification that tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import draw_config
from radixproof.stateful_tests.enabled import draw_style, draw_weights
from radixproof.stateful_tests.walk import next_operation

Observed = tuple[Snapshot, Operation, Outcome, Snapshot]


def observed_steps(seed: int, steps: int = 50) -> Iterator[Observed]:
    """The steps of one random run of the specification."""
    choose = RandomChooser(Random(seed))
    model = ReferenceModel(draw_config(choose))
    before = model.snapshot()
    situation = draw_style(choose, before)
    situation.weights = draw_weights(choose)
    for _ in range(steps):
        situation.state = before
        operation = next_operation(situation, choose)
        outcome = model.apply(operation)
        after = model.snapshot()
        yield before, operation, outcome, after
        before = after
