"""Streaming sessions, by SGLang's own session code: one turn at a time."""

from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from sglang.srt.managers.schedule_batch import Req
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.session.session_controller import SessionController

from radixproof.stateful_tests.export.parts.admission import CHECKPOINTS
from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.holder import Holder
from radixproof.stateful_tests.export.parts.requests import Request

REAP_EVERY = 2.0
"""Seconds from one look of the reaper to the next; it waits one."""


class CacheWithSessions(Cache):
    """A server with streaming sessions."""

    def __init__(self, *made_by: Any, **more: Any) -> None:
        super().__init__(*made_by, enable_streaming_session=True, **more)
        self.controller = SessionController(self.tree)

    def holders(self) -> list[Any]:
        """And sessions between two turns."""
        return [*self.running, *(s for s in self.sessions.values() if s.keeps_kv())]

    def open_session(self, name: str) -> "Session":
        asked = SimpleNamespace(
            session_id=name, capacity_of_str_len=1 << 20, streaming=True, timeout=None
        )
        self.controller.open(asked)
        opened = self.sessions[name] = Session(self, name)
        return opened


class Session(Holder):
    """A conversation. Between its turns the KV of the last one is its own."""

    def __init__(self, cache: CacheWithSessions, name: str) -> None:
        self.cache, self.controller, self.name = cache, cache.controller, name
        self.namespace = ""
        self.history: tuple[int, ...] = ()
        self.kept: tuple[int, ...] = ()
        self.in_flight: Turn | None = None
        self.closing = False

    def turn(
        self,
        said: Sequence[int],
        *,
        namespace: str = "",
        priority: int = 0,
        load_back: bool = True,
        waits: bool = False,
    ) -> "Turn":
        """What is not accepted waits, as a request of one token. ``waits``: so does the turn."""
        made = self.cache.acting = Turn(self, said, namespace=namespace, priority=priority)
        if made.accepted:
            self.in_flight, self.namespace = made, namespace
            if waits:
                made.refuse()
            else:
                made.admit(load_back=load_back)
        return made

    def close(self) -> None:
        """A session with a turn in flight is closed by the reaper, with all that have none now."""
        if self.closing:
            self.controller.maybe_reap(self.controller._last_reap_time + REAP_EVERY)
        else:
            self.controller.close(SimpleNamespace(session_id=self.name))
        self.closing = True
        for name in [name for name in self.cache.sessions if name not in self.controller]:
            del self.cache.sessions[name]

    # What it holds

    @property
    def req(self) -> Any:
        """SGLang's record of it, or none."""
        return self.cache.tree.session.slots.get(self.name)

    def keeps_kv(self) -> bool:
        """Whether there is KV on which no turn runs."""
        if self.req is None or getattr(self.req, "kv", self.req) is None:
            return False
        lent = [r.get("req_pool_idx") for r in self.cache.running]
        return self.get("req_pool_idx") not in [None, *lent]

    @property
    def row(self) -> torch.Tensor:
        index, count = self.get("req_pool_idx"), self.get("kv_allocated_len")
        slots: torch.Tensor = self.cache.rows.req_to_token[index, :count]
        return slots.to(torch.int64)

    def anchor(self) -> Any:
        return self.req.lock.node if CHECKPOINTS else self.req.last_node


class Received(SimpleNamespace):
    """A request as it comes from the tokenizer: what is not set is not asked for."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class Turn(Request):
    """A request that goes on from what its session holds; or the answer to one not accepted."""

    def __init__(
        self, session: Session, said: Sequence[int], *, namespace: str = "", priority: int = 0
    ) -> None:
        self.session = session
        super().__init__(session.cache, said, namespace=namespace, priority=priority)
        self.said = tuple(said)
        self.tokens = tuple(self.req.origin_input_ids)
        self.came_with = self.prompt = len(self.tokens)
        self.accepted = self.req.to_finish is None

    def make(self, priority: int) -> Any:
        sampling = SamplingParams(max_new_tokens=1 << 20)
        as_list = isinstance(Req("", "", array("q"), sampling).output_ids, list)
        received = Received(
            rid=f"r{len(self.cache.running)}",
            input_ids=list(self.tokens) if as_list else array("q", self.tokens),
            sampling_params=sampling,
            session_params=SimpleNamespace(
                id=self.session.name,
                rid=None,
                offset=None,
                replace=False,
                drop_previous_output=False,
            ),
            extra_key=self.namespace or None,
            priority=priority,
            return_logprob=False,
            return_hidden_states=False,
            sampling_logprobs_mode="selected",
        )
        return self.session.controller.get(self.session.name).create_req(received, None, 1 << 31)

    def prefix(self) -> torch.Tensor:
        index = self.get("req_pool_idx")
        if index is None:
            return super().prefix()
        slots: torch.Tensor = self.cache.rows.req_to_token[index, : self.prefix_len()]
        return slots

    def grow(self, count: int) -> bool:
        there = super().grow(count)
        if there and hasattr(self.tree, "maybe_hand_to_session"):  # alloc_for_extend ends with it
            self.tree.maybe_hand_to_session(self.req)
        return there

    def checkpoint(self) -> None:
        if self.accepted:
            super().checkpoint()

    def retract(self) -> None:
        if self.accepted:
            self.set_output(self.tokens[self.came_with :])
            self.session.kept = self.tokens
        super().retract()

    def finish(self) -> None:
        """With overlap, the default, the pass that is under way computes the last token, too."""
        if self.accepted:
            self.tokens += (0,)
            if (
                not self.cache.server.get("disable_overlap_schedule")
                and len(self.row) > self.committed
            ):
                self.compute(1)
            self.session.history = self.session.kept = self.tokens
            self.session.in_flight = None
        super().finish()

    def reason(self) -> Any:
        if self.accepted:
            return super().reason()
        told, self.req.to_finish = self.req.to_finish, None
        return told

    def abort(self) -> None:
        if self.accepted:
            self.session.in_flight = None
        super().abort()

    # The record of its session, on which it runs

    def lent(self) -> Any:
        session = self.req.session
        slot = None if session is None else self.tree.session.slots.get(session.session_id)
        return slot if slot is not None and self.req.last_node is slot.virtual_node else None

    def anchor(self) -> Any:
        slot = self.lent()
        if slot is None:
            return super().anchor()
        return slot.lock.node if CHECKPOINTS else slot.last_node
