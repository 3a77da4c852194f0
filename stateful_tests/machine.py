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
from radixproof.model.operations import Operation
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

    @initialize(data=st.data())
    def configure(self, data: Any) -> None:
        choose = HypothesisChooser(data.draw)
        config = draw_config(choose, self.limits)
        self.run = Lockstep(config, type(self).open_subject, clock=type(self).clock)
        self.situation = draw_style(choose, self.run.state)

    # Keys

    @rule(data=st.data())
    def match(self, data: Any) -> None:
        self.perform("match", data)

    @rule(data=st.data())
    def insert(self, data: Any) -> None:
        self.perform("insert", data)

    # Locks

    @rule(data=st.data())
    @possible(lambda state: bool(state.nodes))
    def lock(self, data: Any) -> None:
        self.perform("lock", data)

    @rule(data=st.data())
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def unlock(self, data: Any) -> None:
        self.perform("unlock", data)

    @rule(data=st.data())
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def host_lock(self, data: Any) -> None:
        self.perform("host_lock", data)

    @rule(data=st.data())
    @possible(lambda state: any(r.owner == "client" for r in state.receipts))
    def host_unlock(self, data: Any) -> None:
        self.perform("host_unlock", data)

    # Memory pressure

    @rule(data=st.data())
    @possible(lambda state: bool(state.nodes))
    def evict(self, data: Any) -> None:
        self.perform("evict", data)

    @rule(data=st.data())
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def evict_host(self, data: Any) -> None:
        self.perform("evict_host", data)

    # Transfers

    @rule(data=st.data())
    @possible(lambda state: any(n.backuped for n in state.nodes))
    def load_back(self, data: Any) -> None:
        self.perform("load_back", data)

    @rule(data=st.data())
    @possible(lambda state: any(t.stage == "queued" for t in state.loads))
    def start_loading(self, data: Any) -> None:
        self.perform("start_loading", data)

    @rule(data=st.data())
    @possible(lambda state: any(t.stage == "submitted" for t in state.writes + state.loads))
    def execute(self, data: Any) -> None:
        self.perform("execute", data)

    @rule(data=st.data())
    @possible(lambda state: any(t.stage == "executed" for t in state.writes + state.loads))
    def observe(self, data: Any) -> None:
        self.perform("observe", data)

    # Requests

    @rule(data=st.data())
    def admit(self, data: Any) -> None:
        self.perform("admit", data)

    @rule(data=st.data())
    @possible(lambda state: any(r.committed < r.prompt_len for r in state.requests))
    def prefill(self, data: Any) -> None:
        self.perform("prefill", data)

    @rule(data=st.data())
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def decode(self, data: Any) -> None:
        self.perform("decode", data)

    @rule(data=st.data())
    @possible(lambda state: state.config.has_swa and bool(state.requests))
    def slide_window(self, data: Any) -> None:
        self.perform("slide_window", data)

    @rule(data=st.data())
    @possible(lambda state: any(r.committed >= r.prompt_len for r in state.requests))
    def finish(self, data: Any) -> None:
        self.perform("finish", data)

    @rule(data=st.data())
    @possible(lambda state: bool(state.requests))
    def abort(self, data: Any) -> None:
        self.perform("abort", data)

    # Environment

    @rule(data=st.data())
    @possible(lambda s: s.nodes and not (s.requests or s.receipts or s.writes or s.loads))
    def reset(self, data: Any) -> None:
        self.perform("reset", data)

    @rule(data=st.data())
    def fail_allocation(self, data: Any) -> None:
        self.perform("fail_allocation", data)

    @rule(data=st.data())
    def misuse(self, data: Any) -> None:
        """A call that must be refused and change nothing."""
        self.situation.state = self.run.state
        self.apply(draw_illegal(self.situation, HypothesisChooser(data.draw)))

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

    def perform(self, name: str, data: Any) -> None:
        """Draw the arguments of one operation, and run it if there is one."""
        self.situation.state = self.run.state
        operation = GENERATORS[name](self.situation, HypothesisChooser(data.draw))
        if operation is not None:
            self.apply(operation)

    def apply(self, operation: Operation) -> None:
        self.run.perform(operation)

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
