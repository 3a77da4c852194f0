"""The Hypothesis machine: one rule per operation, one invariant for the whole catalogue.

``CacheMachine`` is public: subclass it with another ``open_subject`` and another cache is judged
against the specification by the same rules.

    class MyMachine(CacheMachine):
        open_subject = staticmethod(open_my_cache)

    TestMyCache = MyMachine.TestCase
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.choose import BytesChooser
from radixproof.stateful_tests.configs import ANY, Limits, draw_config
from radixproof.stateful_tests.enabled import GENERATORS, Situation, draw_style, may_release
from radixproof.stateful_tests.illegal import draw_illegal
from radixproof.stateful_tests.lockstep import Clock, Coverage, Lockstep
from radixproof.stateful_tests.shrink import cost
from radixproof.stateful_tests.verdict import Counterexample


class CounterexampleFound(AssertionError):
    """What a machine fails with; the message names every violated oracle."""

    def __init__(self, counterexample: Counterexample) -> None:
        lines = [f"{f.who}: {f.slug}: {f.message}" for f in counterexample.findings]
        super().__init__("\n".join(lines))
        self.counterexample = counterexample


CHOICES = st.binary(min_size=16, max_size=16)
"""What an operation and its arguments are made of; all zeros make the simplest."""
MANY_CHOICES = st.binary(min_size=48, max_size=48)


def possible(check: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """A rule's precondition on the specification's state."""
    return precondition(lambda machine: check(machine.run.state))


class CacheMachine(RuleBasedStateMachine):
    """A cache beside the specification; see the module docstring."""

    open_subject: ClassVar[OpenSubject] = staticmethod(open_torch)
    limits: ClassVar[Limits] = ANY
    coverage: ClassVar[Coverage] = Coverage()
    """Sums over all examples of the class; ``machine_for`` gives each class its own."""
    clock: ClassVar[Clock | None] = None
    relation: ClassVar[bool] = False
    """Whether every step is explained by the transitions that are proved, too."""
    shortest: ClassVar[Counterexample | None] = None
    """The plainest counterexample that any example of the class has shown."""

    run: Lockstep
    situation: Situation

    @initialize(choices=MANY_CHOICES)
    def configure(self, choices: bytes) -> None:
        choose = BytesChooser(choices)
        config = draw_config(choose, self.limits)
        self.run = Lockstep(
            config, type(self).open_subject, relation=self.relation, clock=type(self).clock
        )
        self.situation = draw_style(choose, self.run.state)

    # Keys

    @rule(choices=CHOICES)
    def match(self, choices: bytes) -> None:
        self.perform("match", choices)

    @rule(choices=CHOICES)
    def insert(self, choices: bytes) -> None:
        self.perform("insert", choices)

    # Locks

    @rule(choices=CHOICES)
    @possible(lambda state: bool(state.nodes))
    def lock(self, choices: bytes) -> None:
        self.perform("lock", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def unlock(self, choices: bytes) -> None:
        self.perform("unlock", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def host_lock(self, choices: bytes) -> None:
        self.perform("host_lock", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def host_unlock(self, choices: bytes) -> None:
        self.perform("host_unlock", choices)

    # Memory pressure

    @rule(choices=CHOICES)
    @possible(lambda state: bool(state.nodes))
    def evict(self, choices: bytes) -> None:
        self.perform("evict", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def evict_host(self, choices: bytes) -> None:
        self.perform("evict_host", choices)

    # Transfers

    @rule(choices=CHOICES)
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def load_back(self, choices: bytes) -> None:
        self.perform("load_back", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(t.stage == "queued" for t in state.loads))
    def start_loading(self, choices: bytes) -> None:
        self.perform("start_loading", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(t.stage == "submitted" for t in state.writes + state.loads))
    def execute(self, choices: bytes) -> None:
        self.perform("execute", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(t.stage == "executed" for t in state.writes + state.loads))
    def observe(self, choices: bytes) -> None:
        self.perform("observe", choices)

    # Requests

    @rule(choices=CHOICES)
    def admit(self, choices: bytes) -> None:
        self.perform("admit", choices)

    @rule(choices=CHOICES)
    def prepare(self, choices: bytes) -> None:
        self.perform("prepare", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: bool(state.candidates))
    def proceed(self, choices: bytes) -> None:
        self.perform("proceed", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: bool(state.requests))
    def retract(self, choices: bytes) -> None:
        self.perform("retract", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(may_release(state, r) for r in state.requests))
    def release_window(self, choices: bytes) -> None:
        self.perform("release_window", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(r.committed < r.prompt_len for r in state.requests))
    def prefill(self, choices: bytes) -> None:
        self.perform("prefill", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def decode(self, choices: bytes) -> None:
        self.perform("decode", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: state.config.has_swa and bool(state.requests))
    def slide_window(self, choices: bytes) -> None:
        self.perform("slide_window", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def finish(self, choices: bytes) -> None:
        self.perform("finish", choices)

    @rule(choices=CHOICES)
    @possible(lambda state: bool(state.requests or state.candidates))
    def abort(self, choices: bytes) -> None:
        self.perform("abort", choices)

    # Environment

    @rule(choices=CHOICES)
    @possible(lambda s: s.nodes and not (s.requests or s.receipts or s.writes or s.loads))
    def reset(self, choices: bytes) -> None:
        self.perform("reset", choices)

    @rule(choices=CHOICES)
    def fail_allocation(self, choices: bytes) -> None:
        self.perform("fail_allocation", choices)

    @rule(choices=CHOICES)
    def misuse(self, choices: bytes) -> None:
        """A call that must be refused and change nothing."""
        self.run.perform(draw_illegal(self.at_present(), BytesChooser(choices)))

    # The oracles

    @invariant()
    def everything_holds(self) -> None:
        """All of the catalogue, agreement and shadow memory; all complaints, not the first."""
        if not hasattr(self, "run"):
            return
        found = self.run.judge()
        if found is None:
            return
        shortest = type(self).shortest
        if shortest is None or cost(found.trace) < cost(shortest.trace):
            type(self).shortest = found
        raise CounterexampleFound(found)

    def perform(self, name: str, choices: bytes) -> None:
        """Run an operation with arguments that the present state allows, if there are any."""
        operation = GENERATORS[name](self.at_present(), BytesChooser(choices))
        if operation is not None:
            self.run.perform(operation)

    def at_present(self) -> Situation:
        """What generators look at."""
        self.situation.state = self.run.state
        return self.situation

    def teardown(self) -> None:
        if hasattr(self, "run"):
            covered = self.run.close()
            for name, kind in covered.outcomes:
                if kind != "ok":
                    event(f"{name}: {kind}")
            type(self).coverage.add(covered)


def machine_for(
    open_subject: OpenSubject,
    limits: Limits = ANY,
    clock: Clock | None = None,
    relation: bool = False,
) -> type[CacheMachine]:
    """A machine class of its own for one subject, with its own coverage."""
    return type(
        "CacheMachine",
        (CacheMachine,),
        {
            "open_subject": staticmethod(open_subject),
            "limits": limits,
            "coverage": Coverage(),
            "clock": None if clock is None else staticmethod(clock),
            "shortest": None,
            "relation": relation,
        },
    )
