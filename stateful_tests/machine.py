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
from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.choose import HypothesisChooser
from radixproof.stateful_tests.configs import ANY, Limits, draw_config
from radixproof.stateful_tests.enabled import GENERATORS, Situation, draw_style
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


@st.composite
def drawn(draw: st.DrawFn, name: str) -> Operation | None:
    """Arguments for one operation in the machine's present state; ``None``: none are legal."""
    machine: CacheMachine = draw(st.runner())
    return GENERATORS[name](machine.at_present(), HypothesisChooser(draw))


@st.composite
def misused(draw: st.DrawFn) -> Operation:
    """A call that must be refused in the machine's present state."""
    machine: CacheMachine = draw(st.runner())
    return draw_illegal(machine.at_present(), HypothesisChooser(draw))


@st.composite
def configurations(draw: st.DrawFn) -> CacheConfig:
    """One within the machine's limits."""
    machine: CacheMachine = draw(st.runner())
    return draw_config(HypothesisChooser(draw), machine.limits)


@st.composite
def styles(draw: st.DrawFn) -> Situation:
    """The style of one run; its state comes with the first step."""
    return draw_style(HypothesisChooser(draw), ReferenceModel(CacheConfig()).snapshot())


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
    shortest: ClassVar[Counterexample | None] = None
    """The plainest counterexample that any example of the class has shown."""

    run: Lockstep
    situation: Situation

    @initialize(config=configurations(), style=styles())
    def configure(self, config: CacheConfig, style: Situation) -> None:
        self.run = Lockstep(config, type(self).open_subject, clock=type(self).clock)
        self.situation = style

    # Keys

    @rule(operation=drawn("match"))
    def match(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("insert"))
    def insert(self, operation: Operation | None) -> None:
        self.perform(operation)

    # Locks

    @rule(operation=drawn("lock"))
    @possible(lambda state: bool(state.nodes))
    def lock(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("unlock"))
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def unlock(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("host_lock"))
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def host_lock(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("host_unlock"))
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def host_unlock(self, operation: Operation | None) -> None:
        self.perform(operation)

    # Memory pressure

    @rule(operation=drawn("evict"))
    @possible(lambda state: bool(state.nodes))
    def evict(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("evict_host"))
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def evict_host(self, operation: Operation | None) -> None:
        self.perform(operation)

    # Transfers

    @rule(operation=drawn("load_back"))
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def load_back(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("start_loading"))
    @possible(lambda state: any(t.stage == "queued" for t in state.loads))
    def start_loading(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("execute"))
    @possible(lambda state: any(t.stage == "submitted" for t in state.writes + state.loads))
    def execute(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("observe"))
    @possible(lambda state: any(t.stage == "executed" for t in state.writes + state.loads))
    def observe(self, operation: Operation | None) -> None:
        self.perform(operation)

    # Requests

    @rule(operation=drawn("admit"))
    def admit(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("prefill"))
    @possible(lambda state: any(r.committed < r.prompt_len for r in state.requests))
    def prefill(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("decode"))
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def decode(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("slide_window"))
    @possible(lambda state: state.config.has_swa and bool(state.requests))
    def slide_window(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("finish"))
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def finish(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("abort"))
    @possible(lambda state: bool(state.requests))
    def abort(self, operation: Operation | None) -> None:
        self.perform(operation)

    # Environment

    @rule(operation=drawn("reset"))
    @possible(lambda s: s.nodes and not (s.requests or s.receipts or s.writes or s.loads))
    def reset(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=drawn("fail_allocation"))
    def fail_allocation(self, operation: Operation | None) -> None:
        self.perform(operation)

    @rule(operation=misused())
    def misuse(self, operation: Operation) -> None:
        """A call that must be refused and change nothing."""
        self.perform(operation)

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

    def perform(self, operation: Operation | None) -> None:
        """Run an operation, if one was possible."""
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
    open_subject: OpenSubject, limits: Limits = ANY, clock: Clock | None = None
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
        },
    )
