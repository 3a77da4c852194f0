"""Operations of a trace as calls of what parts/cache.py and parts/requests.py define."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from radixproof.model import operations as op


class NotExportable(ValueError):
    """A counterexample that no such test can hold; one line that says why."""


class Calls:
    """Writes one line per operation; variables are numbered as they come."""

    def __init__(self, *, states: bool = False) -> None:
        """``states``: requests have recurrent states."""
        self.kind = "RequestWithState" if states else "Request"
        self.variables: dict[tuple[str, str], str] = {}
        self.turns: set[str] = set()
        """Requests made by sessions."""
        self.waiting: set[str] = set()
        """Turns that were in no batch since they came or were retracted."""

    def line(self, number: int, operation: op.Operation) -> str:
        """The statement of an operation. Raises ``NotExportable``."""
        name = op.NAMES[type(operation)]
        write: Callable[[Any], str] | None = getattr(self, f"_{name}", None)
        if write is None:
            raise NotExportable(f"operation {number}, {name}, has no counterpart in a unit test")
        return write(operation)

    def _new(self, kind: str, name: str) -> str:
        of_kind = [k for k, _ in self.variables if k == kind]
        self.variables[kind, name] = f"{kind}_{len(of_kind) + 1}"
        return self.variables[kind, name]

    def _of(self, kind: str, name: str) -> str:
        if (kind, name) not in self.variables:
            raise NotExportable(f"the trace uses {name!r}, which it never made")
        return self.variables[kind, name]

    def _insert(self, o: op.Insert) -> str:
        return f"cache.insert({_arguments(o, 'tokens')})"

    def _match(self, o: op.Match) -> str:
        return f"cache.match({_arguments(o, 'tokens')})"

    def _lock(self, o: op.Lock) -> str:
        return f"{self._new('lock', o.holder)} = cache.lock({_arguments(o, 'tokens')})"

    def _unlock(self, o: op.Unlock) -> str:
        return f"cache.unlock({self._of('lock', o.holder)})"

    def _host_lock(self, o: op.HostLock) -> str:
        return f"{self._new('host_lock', o.holder)} = cache.lock_host({_arguments(o, 'tokens')})"

    def _host_unlock(self, o: op.HostUnlock) -> str:
        return f"cache.unlock_host({self._of('host_lock', o.holder)})"

    def _evict(self, o: op.Evict) -> str:
        return f"cache.evict({_arguments(o)})"

    def _evict_host(self, o: op.EvictHost) -> str:
        return f"cache.evict_host({o.count}, {json.dumps(o.component.upper())})"

    def _load_back(self, o: op.LoadBack) -> str:
        return f"cache.load_back({_arguments(o, 'tokens')})"

    def _start_loading(self, o: op.StartLoading) -> str:
        return "cache.start_loading()"

    def _execute(self, o: op.Execute) -> str:
        return f"cache.run_copy({json.dumps(o.stream)})"

    def _observe(self, o: op.Observe) -> str:
        limit = "" if o.limit is None else f", {o.limit}"
        return f"cache.observe({json.dumps(o.stream)}{limit})"

    def _reset(self, o: op.Reset) -> str:
        return "cache.reset()"

    def _admit(self, o: op.Admit) -> str:
        return f"{self._request(o)}.admit({_arguments(o, only=_OF_ADMISSION)})"

    def _prepare(self, o: op.Prepare) -> str:
        return f"{self._request(o)}.refuse()"

    def _open_session(self, o: op.OpenSession) -> str:
        return f"{self._new('session', o.session)} = cache.open_session({json.dumps(o.session)})"

    def _turn(self, o: op.Turn) -> str:
        session = self._of("session", o.session)
        turn = self._new("request", o.request)
        self.turns.add(o.request)
        self.waiting.add(o.request)
        return f"{turn} = {session}.turn({_arguments(o, 'tokens')})"

    def _close_session(self, o: op.CloseSession) -> str:
        return f"{self._of('session', o.session)}.close()"

    def _request(self, o: op.Admit | op.Prepare) -> str:
        made = _arguments(o, "tokens", only=("namespace", "priority"))
        return f"{self._new('request', o.request)} = {self.kind}(cache, {made})"

    def _proceed(self, o: op.Proceed) -> str:
        return f"{self._of('request', o.request)}.admit({_arguments(o, only=_OF_ADMISSION)})"

    def _retract(self, o: op.Retract) -> str:
        self.waiting |= self.turns & {o.request}
        return f"{self._of('request', o.request)}.retract()"

    def _prefill(self, o: op.Prefill) -> str:
        self.waiting.discard(o.request)
        return f"{self._of('request', o.request)}.prefill({o.count})"

    def _decode(self, o: op.Decode) -> str:
        return f"{self._of('request', o.request)}.decode({_arguments(o, 'tokens')})"

    def _release_window(self, o: op.ReleaseWindow) -> str:
        return f"{self._of('request', o.request)}.release_window()"

    def _slide_window(self, o: op.SlideWindow) -> str:
        return f"{self._of('request', o.request)}.slide_window()"

    def _finish(self, o: op.Finish) -> str:
        return f"{self._of('request', o.request)}.finish()"

    def _abort(self, o: op.Abort) -> str:
        if o.request in self.waiting:
            told = f"the scheduler's own code, which no test can call, aborts turn {o.request!r}"
            raise NotExportable(f"{told} while it waits")
        return f"{self._of('request', o.request)}.abort()"


_RENAMED = {"mem_quota": "quota"}
_OF_ADMISSION = ("load_back", "mem_quota")
_ARGUMENTS = (
    "namespace",
    "swa_evicted",
    "priority",
    "waits",
    "full",
    "swa",
    "mamba",
    "ahead",
    *_OF_ADMISSION,
)


def _arguments(o: op.Operation, *positional: str, only: tuple[str, ...] = _ARGUMENTS) -> str:
    """The fields of an operation that are not their defaults, as the arguments of a call."""
    told = [json.dumps(list(getattr(o, name))) for name in positional]
    for f in fields(o):
        value = getattr(o, f.name)
        if f.name in only and value != f.default:
            written = json.dumps(value) if isinstance(value, str) else repr(value)
            told.append(f"{_RENAMED.get(f.name, f.name)}={written}")
    return ", ".join(told)
