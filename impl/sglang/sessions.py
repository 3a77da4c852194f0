"""Streaming sessions, by the release's own session code.

``SessionController``, ``Session.create_req`` and the ``StreamingSession`` that every unified cache
carries are the release's, unmodified. What is ours is the order of the calls, which is that of its
scheduler, and a ledger of what the clients were told: the history of each session, which of its
turns is in flight, and whose KV it holds in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.lifecycle import Lifecycle
from radixproof.impl.sglang.running import Running
from radixproof.impl.sglang.session_records import record_index, records
from radixproof.model import operations as op
from radixproof.model.errors import ErrorKind, IllegalUse

REAP_EVERY = 2.0
"""Seconds that pass, for the release, from one look of its reaper to the next (it waits one)."""


class _Received(SimpleNamespace):
    """A request as it comes from the tokenizer. What is not set is not asked for."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@dataclass(slots=True)
class Ledger:
    """What is known of one open session from outside."""

    name: str
    namespace: str = ""
    history: tuple[int, ...] = ()
    turn: str = ""
    """The request in flight; '': none."""
    publishes: bool = False
    """Its turn that runs found nothing held when it was admitted."""
    closing: bool = False
    rejected: tuple[str, ...] = ()
    """Requests made of turns that the server did not accept."""
    kept: tuple[int, ...] = ()
    """Tokens of the turn whose KV it holds."""


class Sessions:
    """All sessions of one cache."""

    def __init__(self, lifecycle: Lifecycle, running: Mapping[str, Running]) -> None:
        """``running``: requests by name, shared with the cache."""
        self.lifecycle = lifecycle
        self.running = running
        self.open: dict[str, Ledger] = {}
        module = lifecycle.release.session_controller
        self.controller = module and module.SessionController(lifecycle.tree)

    def start(self, name: str) -> bool:
        """Whether the server opened it."""
        asked = SimpleNamespace(
            session_id=name, capacity_of_str_len=1 << 20, streaming=True, timeout=None
        )
        self.controller.open(asked)
        self.open[name] = Ledger(name)
        return name in self.controller

    def turn(self, o: op.Turn) -> Running:
        """The request that the server makes of a turn, or of one that it does not accept."""
        ledger = self.open[o.session]
        received = _Received(
            rid=o.request,
            input_ids=self.lifecycle.sequence(o.tokens),
            sampling_params=self.lifecycle.sampling(),
            session_params=SimpleNamespace(
                id=o.session, rid=None, offset=None, replace=False, drop_previous_output=False
            ),
            extra_key=o.namespace or None,
            priority=o.priority,
            return_logprob=False,
            return_hidden_states=False,
            sampling_logprobs_mode="selected",
        )
        req = self.controller.get(o.session).create_req(received, None, 1 << 31)
        tokens = tuple(req.origin_input_ids)
        running = self.lifecycle.running(o.request, o.namespace, tokens, o.priority, req)
        if req.to_finish is None:
            running.session = o.session
            ledger.turn, ledger.namespace = o.request, o.namespace
        else:
            running.rejected = True
            ledger.rejected += (o.request,)
        return running

    def admitted(self, running: Running) -> None:
        """A turn was looked up for good: what its session held is the turn's now."""
        if running.session:
            ledger = self.open[running.session]
            ledger.publishes = not fields.has_row(running.req)

    def ended(self, running: Running) -> None:
        """A turn finished; its session keeps the KV and goes on from its tokens."""
        self._forget_rejected(running)
        if running.session:
            ledger = self.open[running.session]
            ledger.history = ledger.kept = running.tokens
            ledger.turn, ledger.publishes = "", False

    def retracted(self, running: Running) -> None:
        """A turn waits again; the KV is its session's meanwhile."""
        if running.session:
            ledger = self.open[running.session]
            ledger.kept, ledger.publishes = running.tokens, False

    def aborted(self, running: Running) -> None:
        self._forget_rejected(running)
        if running.session:
            ledger = self.open[running.session]
            ledger.turn, ledger.publishes = "", False

    def _forget_rejected(self, running: Running) -> None:
        for ledger in self.open.values() if running.rejected else ():
            ledger.rejected = tuple(name for name in ledger.rejected if name != running.name)

    def leave_queue(self, running: Running) -> None:
        """A turn that waits is aborted: the release tells its session, or forgets to."""
        session = running.req.session
        if session is not None and self.lifecycle.release.frees_aborted_sessions:
            session.abort_req()

    def close(self, name: str) -> bool:
        """Whether it is closed now, and not only closing."""
        ledger = self.open[name]
        if ledger.closing:
            now = self.controller._last_reap_time + REAP_EVERY
            self.controller.maybe_reap(now)
        else:
            self.controller.close(SimpleNamespace(session_id=name))
        for other in [other for other in self.open if other not in self.controller]:
            del self.open[other]  # the reaper closes all that can be closed
        if name in self.open:
            ledger.closing = True
        return name not in self.open

    # What a session holds

    def slot(self, name: str) -> Any:
        """The release's record of a session; ``None``: it keeps none."""
        return records(self.lifecycle.tree).get(name)

    def holds(self, name: str) -> bool:
        """Whether it holds KV of its own: no turn runs on it."""
        slot = self.slot(name)
        index = None if slot is None else record_index(slot)
        rows = (fields.held(r.req, "req_pool_idx") for r in self.running.values())
        return index is not None and index not in rows

    def forget_all(self) -> None:
        """A flush took all KV; histories stay."""
        for ledger in self.open.values():
            ledger.kept = ()


def require_session(sessions: Sessions, name: str) -> Ledger:
    """Raises ``IllegalUse`` where no such session is open."""
    ledger = sessions.open.get(name)
    if ledger is None:
        raise IllegalUse(ErrorKind.PROTOCOL, f"no session {name!r} is open")
    return ledger
