"""Hunting in one release: walks, replay and shrinking, all in the process that holds it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from random import Random

from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import Operation
from radixproof.model.trace import Trace
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.configs import ANY, Limits
from radixproof.stateful_tests.enabled import draw_style, draw_weights
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.dialect import unjudged
from radixproof.stateful_tests.sglang.draw.server import Shape, draw_server
from radixproof.stateful_tests.sglang.endings import Run
from radixproof.stateful_tests.sglang.ranked import OpenRanked, RankedRun
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach
from radixproof.stateful_tests.sglang.solo import OpenSelfChecking, Solo
from radixproof.stateful_tests.sglang.walk import STEPS, one_walk, walk
from radixproof.stateful_tests.shrink import Shrinker
from radixproof.stateful_tests.verdict import Counterexample

BUDGET = 1500
"""Executions that shrinking the first counterexample may take; later ones take less."""

Journal = Callable[[CacheConfig | Operation], None]
"""Told what is about to run, so that a process that dies leaves a trace behind."""


def _silent(_: CacheConfig | Operation) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Searcher:
    """What a search needs to know of a release."""

    open_subject: OpenSelfChecking
    options: frozenset[str]
    """Legal differences of the release (model/options.py)."""
    shape: Shape
    open_ranked: OpenRanked
    journal: Journal = _silent
    relation: bool = False
    """Every step is explained by the transitions that are proved, too."""

    def start(self, config: CacheConfig, reach: Reach, past: Collection[str] = ()) -> Run:
        """A run on an empty cache, or on one for each rank."""
        self.journal(config)
        left_out = unjudged(self.options.union(reach.promised), config.write_policy)
        if config.ranks > 1:
            if self.relation:
                raise ConfigError("the relation is of one rank")
            return RankedRun(
                config,
                self.open_ranked,
                left_out,
                reach=reach,
                journal=self.journal,
                past=past,
            )
        return Solo(
            config,
            self.open_subject,
            left_out,
            reach=reach,
            relation=self.relation,
            journal=self.journal,
            past=past,
        )

    def walk(
        self,
        seed: int,
        limits: Limits = ANY,
        reach: Reach = DEFAULT,
        *,
        steps: int = STEPS,
        coverage: Coverage | None = None,
        past: Collection[str] = (),
    ) -> Counterexample | None:
        """``past``: slugs of known defects, not to stop at (solo.py)."""
        make = partial(self.start, past=past)
        return one_walk(make, seed, limits, self.shape, steps=steps, reach=reach, coverage=coverage)

    def drawn(self, seed: int, limits: Limits, reach: Reach, *, steps: int) -> Trace:
        """The operations of a walk, whatever it shows."""
        choose = RandomChooser(Random(seed))
        run = self.start(draw_server(choose, limits, self.shape), reach)
        style = draw_style(choose, run.state)
        style.weights = draw_weights(choose)
        walk(run, choose, steps=steps, style=style)
        run.close()
        return Trace(run.config, tuple(run.operations))

    def replay(
        self,
        trace: Trace,
        reach: Reach = DEFAULT,
        coverage: Coverage | None = None,
        past: Collection[str] = (),
    ) -> Counterexample | None:
        """The first counterexample along a trace. Raises ``ConfigError`` if it does not fit."""
        run = self.start(trace.config, reach, past)
        try:
            for operation in trace.operations:
                found = run.step(operation)
                if found is not None:
                    return found
            return None
        finally:
            covered = run.close()
            if coverage is not None:
                coverage.add(covered)

    def shrink(
        self,
        found: Counterexample,
        reach: Reach = DEFAULT,
        wanted: frozenset[str] | None = None,
        budget: int = BUDGET,
    ) -> Counterexample:
        """The same complaint on a trace as short as greed gets it, past what it was found past."""

        def attempt(trace: Trace) -> Counterexample | None:
            try:
                return self.replay(trace, reach, past=found.past)
            except ConfigError:
                return None

        wanted = wanted or frozenset(found.slugs)
        return Shrinker(found, attempt, wanted, budget).run()
