"""Requests that wait: looked at and not admitted, or retracted.

A waiting request of a release holds nothing. ``PrefillAdder`` matches it, pins its prefix while it
adds up the budget, and lets go again when the budget does not reach; the next round matches anew.
So ``Prepare`` is such a refused admission, and ``Proceed`` a whole one. ``Retract`` is the
release's own ``release_req``: its KV is freed, nothing is cached, its fields are reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radixproof.impl.sglang.budget import Budget
from radixproof.impl.sglang.lifecycle import Lifecycle
from radixproof.impl.sglang.running import Admitted, Hits, Running
from radixproof.impl.sglang.sessions import Sessions
from radixproof.model.errors import ErrorKind, IllegalUse


@dataclass(frozen=True, slots=True)
class Waiting:
    """``best_match``: handle of the node that the last look found best; ``None``: none yet."""

    running: Running
    best_match: Any
    found: int = 0
    """Tokens up to that node, when it was found."""


class Queue:
    """Who waits, and the ways in and out."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        requests: dict[str, Running],
        budget: Budget,
        sessions: Sessions,
    ) -> None:
        """``requests``: those that run, shared with the cache."""
        self.lifecycle = lifecycle
        self.budget = budget
        self.sessions = sessions
        self.requests = requests
        self.waiting: dict[str, Waiting] = {}

    def admit(self, new: Running, *, load_back: bool, mem_quota: int | None) -> Admitted | None:
        """``None``: the budget does not reach."""
        if self.budget.in_force:
            return self.budget.admit(new)
        return self.lifecycle.admission.admit(new, load_back=load_back, mem_quota=mem_quota)

    def prepare(self, new: Running) -> Hits:
        """Look at a request and refuse it."""
        hits = self.lifecycle.admission.refuse(new)
        self.waiting[new.name] = Waiting(new, new.req.best_match_node)
        return hits

    def wait(self, new: Running) -> None:
        """Into the queue, without a look."""
        self.waiting[new.name] = Waiting(new, None)

    def note_best_match(self, name: str, tokens: int) -> None:
        """How far the best match reached; nodes move, so it is noted at once."""
        w = self.waiting[name]
        self.waiting[name] = Waiting(w.running, w.best_match, tokens)

    def proceed(
        self, name: str, *, load_back: bool, mem_quota: int | None
    ) -> tuple[Running, Admitted] | None:
        """Admit a request that waits; ``None``: the budget does not reach, it waits on."""
        running = self.waiting[name].running
        admitted = self.admit(running, load_back=load_back, mem_quota=mem_quota)
        if admitted is None:
            return None
        self.requests[name] = self.waiting.pop(name).running
        self.sessions.admitted(running)
        return running, admitted

    def abort(self, name: str) -> bool:
        """Whether such a request waited."""
        waiting = self.waiting.pop(name, None)
        if waiting is not None:
            self.sessions.leave_queue(waiting.running)
            self.sessions.aborted(waiting.running)
        return waiting is not None

    def retract(self, running: Running) -> None:
        """Back into the queue, with all tokens so far for a prompt."""
        if running in self.lifecycle.admission.unbound:
            raise IllegalUse(ErrorKind.PROTOCOL, "only what was in a batch is retracted")
        self.lifecycle.retract(running)
        self.sessions.retracted(running)
        del self.requests[running.name]
        self.waiting[running.name] = Waiting(running, None)
