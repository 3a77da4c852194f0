"""The gate: corpus, machine and walks on one subject, until the profile's counts are reached."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from radixproof.model.operations import OPERATIONS
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.configs import ANY, Limits
from radixproof.stateful_tests.corpus import corpus, load
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.machine import CacheMachine, machine_for
from radixproof.stateful_tests.profiles import Profile, machine_settings
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.shrink import shrink
from radixproof.stateful_tests.verdict import Counterexample
from radixproof.stateful_tests.walk import walk


@dataclass(slots=True)
class GateReport:
    """The verdict, and what it rests on."""

    counterexample: Counterexample | None
    coverage: Coverage
    seed: int
    rounds: int
    found_by: str = ""
    """``corpus``, ``machine`` or ``walk``."""
    never: list[str] = field(default_factory=list)
    """Operations that were never performed."""
    interrupted: bool = False
    """The user stopped the run; the counts are of what was done until then."""


Progress = Callable[[float, Coverage], None]
"""Told the share of the work done, and the counts so far."""


def run_gate(
    open_subject: OpenSubject,
    profile: Profile,
    *,
    seed: int | None = None,
    limits: Limits = ANY,
    kept: bool = True,
    seconds: float | None = None,
    progress: Progress | None = None,
    relation: bool = False,
) -> GateReport:
    """Judge a subject; the first counterexample, shrunk, ends the run.

    ``kept``: begin with the counterexamples of the corpus. With a seed the run is a function of
    it, and Hypothesis's example database is left alone. ``seconds`` replaces the profile's number
    of rounds: how many fit depends on the machine. ``relation``: every step is explained by the
    transitions that are proved, too.
    """
    used = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    gate = _Gate(open_subject, profile, used, limits, database=seed is None, relation=relation)
    report = GateReport(None, gate.coverage, used, 0)
    begin = monotonic()
    try:
        found, report.found_by = gate.replay_corpus() if kept else (None, "")
        while found is None:
            spent = monotonic() - begin
            done = report.rounds / profile.rounds if seconds is None else spent / seconds
            if progress is not None:
                progress(min(done, 1.0), gate.coverage)
            if done >= 1:
                break
            found, report.found_by = gate.round(report.rounds)
            report.rounds += 1
        report.counterexample = found
        if found is not None:
            report.counterexample = shrink(found, open_subject, relation=relation)
    except KeyboardInterrupt:
        report.interrupted = True
    performed = {name for name, _ in gate.coverage.outcomes}
    report.never = [name for name in OPERATIONS if name not in performed]
    return report


class _Gate:
    def __init__(
        self,
        open_subject: OpenSubject,
        profile: Profile,
        seed: int,
        limits: Limits,
        *,
        database: bool,
        relation: bool,
    ) -> None:
        self.open_subject = open_subject
        self.profile = profile
        self.seed = seed
        self.limits = limits
        self.relation = relation
        self.settings = machine_settings(profile, database=database)
        self.coverage = Coverage()

    def replay_corpus(self) -> tuple[Counterexample | None, str]:
        for path in corpus():
            trace = load(path)
            if not self.limits.admit(trace.config):
                continue
            found = replay(trace, self.open_subject, relation=self.relation, coverage=self.coverage)
            if found is not None:
                return found, "corpus"
        return None, ""

    def round(self, number: int) -> tuple[Counterexample | None, str]:
        """One batch of machine examples and one of walks, with seeds of their own."""
        machine = machine_for(self.open_subject, self.limits, relation=self.relation)
        found = self._examples(machine, number)
        self.coverage.add(machine.coverage)
        if found is not None:
            return found, "machine"
        for i in range(self.profile.walks):
            found = walk(
                self.open_subject,
                (self.seed * 1_000_003 + number) * 1_000_003 + i,
                steps=self.profile.walk_steps,
                limits=self.limits,
                relation=self.relation,
                coverage=self.coverage,
            )
            if found is not None:
                return found, "walk"
        return None, ""

    def _examples(self, machine: type[CacheMachine], number: int) -> Counterexample | None:
        """Whatever Hypothesis ends with, the counterexample is what the machine recorded."""
        seeded(self.seed * 1_000_003 + number)(machine)
        with suppress(Exception):
            run_state_machine_as_test(machine, settings=self.settings)
            return None
        if machine.shortest is None:
            run_state_machine_as_test(machine, settings=self.settings)  # a defect of the machine
        return machine.shortest
