"""A release in a process of its own: started, asked, timed, and buried if it dies.

A crash, a hang, a segfault or memory without end is a verdict: the journal that the process kept
gives the trace that led there.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from radixproof.impl.sglang.wheels import Source
from radixproof.model.config import CacheConfig
from radixproof.model.trace import Trace, operation_from_json
from radixproof.stateful_tests.verdict import CRASH, Counterexample, Finding

OPERATION_SECONDS = 20.0
"""An operation that has not ended by then hangs: ordinary ones take a millisecond."""
START_SECONDS = 180.0


class Unusable(Exception):
    """A release that cannot be judged, or not any further; one line that says why."""


class Died(Exception):
    """The process ended or hung while it ran a trace."""

    def __init__(self, counterexample: Counterexample) -> None:
        super().__init__(counterexample.findings[0].message)
        self.counterexample = counterexample


@dataclass(slots=True)
class Journal:
    """What the process said it was about to run, since the last empty cache."""

    config: Mapping[str, Any] | None = None
    operations: list[Mapping[str, Any]] = field(default_factory=list)
    """As they came: only a death makes a trace of them."""

    def note(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "run":
            self.config = event["config"]
            self.operations = []
        elif event["event"] == "op":
            self.operations.append(event["op"])

    def counterexample(self, who: str, told: str) -> Counterexample | None:
        """The death as a verdict; ``None`` if nothing was running."""
        if self.config is None:
            return None
        operations = tuple(map(operation_from_json, self.operations))
        trace = Trace(CacheConfig.from_json(self.config), operations)
        last = trace.operations[-1] if trace.operations else None
        finding = Finding(who, CRASH, None, told)
        return Counterexample(trace, len(trace.operations) - 1, last, None, None, None, (finding,))


class ReleaseProcess:
    """One release and core, held by a worker process. Not shared between threads."""

    MODULE = "radixproof.stateful_tests.sglang.worker"

    def __init__(self, source: Source, environment: Mapping[str, str] | None = None) -> None:
        """Starts the worker and waits until it is ready. Raises ``Unusable``."""
        self.source = source
        self.environment = dict(environment or {})
        self.about: dict[str, Any] = {}
        """What the worker said of the release: options, unjudged, stubbed."""
        self._start()

    def _start(self) -> None:
        self._buffer = b""
        self._last_words = ""
        self.journal = Journal()
        self._worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                self.MODULE,
                str(self.source.root),
                self.source.core,
                self.source.name,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
            env={**os.environ, **self.environment},
        )
        first = self._read(START_SECONDS)
        if first is None or first["event"] != "ready":
            line = first["line"] if first else "its process ended before it was ready"
            self.close()
            raise Unusable(f"{self.source.name}: {line}")
        self.about = first

    def ask(self, command: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a command; its answers up to and including the last. Raises ``Died``."""
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps(dict(command)).encode() + b"\n")
        self._worker.stdin.flush()
        while True:
            event = self._read(OPERATION_SECONDS)
            if event is None:
                self._bury()
            elif event["event"] in ("run", "op"):
                self.journal.note(event)
            elif event["event"] == "raised":
                if event["ours"]:
                    self.close()
                    raise Unusable(f"{self.source.name}: radixproof itself failed: {event['told']}")
                self._last_words = f": {event['told']}"
            else:
                yield event
                if event["event"] in ("done", "refused"):
                    return

    def _bury(self) -> None:
        """The worker said nothing more: its death, with the trace that led there."""
        status = self._worker.poll()
        if status is None:
            told = f"the operation did not end within {OPERATION_SECONDS:.0f} s"
        elif status < 0:
            told = f"the process was killed by {signal.Signals(-status).name}"
        else:
            told = f"the process ended with status {status}{self._last_words}"
        self.close()
        found = self.journal.counterexample(self.source.name, told)
        if found is None:
            raise Unusable(f"{self.source.name}: {told}")
        raise Died(found)

    def restart(self) -> None:
        """A new process in place of one that died."""
        self.close()
        self._start()

    def close(self) -> None:
        """The worker and its ranks, which are of its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._worker.pid, signal.SIGKILL)
        self._worker.wait()
        for pipe in (self._worker.stdin, self._worker.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> ReleaseProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """The next line; ``None``: the process ended, or nothing came for so long."""
        assert self._worker.stdout is not None
        fd = self._worker.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([fd], [], [], seconds)
            chunk = os.read(fd, 1 << 16) if ready else b""
            if not chunk:
                if ready:
                    self._worker.wait()
                return None
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer


def unpack(packed: str) -> Any:
    """What ``worker.pack`` made. Only of processes that this one started."""
    return pickle.loads(base64.b64decode(packed))
