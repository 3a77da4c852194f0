"""Making a failing trace short enough to read: the framework-free shrinker.

Deterministic and greedy: drop operations (halves first), insert what requests computed, shorten
keys, simplify numbers, then try again until nothing gets simpler. A candidate counts if the same
oracles (one of them, at least) still complain. An operation that became illegal by a drop is
dropped too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import Admit, Insert, Operation, Prefill
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import Trace
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.verdict import Counterexample

BUDGET = 3000
"""Executions at most."""


def shrink(
    found: Counterexample,
    open_subject: OpenSubject,
    *,
    wanted: frozenset[str] | None = None,
    budget: int = BUDGET,
    relation: bool = False,
) -> Counterexample:
    """A counterexample with the same complaint that is as short as greed gets it.

    ``wanted``: slugs of which at least one must remain; by default those of ``found``.
    ``relation``: with the oracle of that name, as the run that found it.
    """
    wanted = wanted or frozenset(found.slugs)
    attempt = partial(replay, open_subject=open_subject, relation=relation)
    return Shrinker(found, attempt, wanted, budget, legal_part).run()


def as_it_is(trace: Trace) -> Trace:
    return trace


def legal_part(trace: Trace) -> Trace:
    """Without operations that are illegal where they stand; the last may be what is judged."""
    model = ReferenceModel(trace.config)
    legal = tuple(o for o in trace.operations[:-1] if model.apply(o).error is None)
    return replace(trace, operations=legal + trace.operations[-1:])


class Shrinker:
    """``attempt`` runs a trace; ``legal`` takes out of it what could not have run."""

    def __init__(
        self,
        found: Counterexample,
        attempt: Callable[[Trace], Counterexample | None],
        wanted: frozenset[str],
        budget: int,
        legal: Callable[[Trace], Trace] = as_it_is,
    ) -> None:
        self.best = found
        self.attempt = attempt
        self.wanted = wanted
        self.left = budget
        self._legal = legal
        self.tried: set[Trace] = set()

    def run(self) -> Counterexample:
        self._try(self.best.trace)
        passes: tuple[Callable[[Trace], Iterator[Trace]], ...] = (
            shorter,
            inserts_for_requests,
            simpler_operations,
            simpler_configurations,
        )
        improved = True
        while improved and self.left > 0:
            improved = False
            for candidates in passes:
                while self._pass(candidates):
                    improved = True
        return self.best

    def _pass(self, candidates: Callable[[Trace], Iterator[Trace]]) -> bool:
        """Whether one candidate was better."""
        return any(self._try(c) for c in candidates(self.best.trace) if self.left > 0)

    def _try(self, trace: Trace) -> bool:
        trace = self._legal(trace)
        if trace in self.tried or self.left <= 0:
            return False
        self.tried.add(trace)
        self.left -= 1
        found = self.attempt(trace)
        if found is None or not self.wanted & set(found.slugs):
            return False
        if cost(found.trace) >= cost(self.best.trace):
            return False
        self.best = found
        return True


def cost(trace: Trace) -> tuple[int, int, int, str]:
    """Fewer operations, then fewer tokens and smaller numbers, then a plainer configuration."""
    tokens = numbers = 0
    for operation in trace.operations:
        for f in fields(operation):
            value = getattr(operation, f.name)
            if isinstance(value, tuple):
                tokens += len(value)
                numbers += sum(value)
            elif value != f.default:
                numbers += 1 + (abs(value) if isinstance(value, int) else 0)
    return (
        len(trace.operations),
        tokens + numbers,
        sum(v for v in trace.config.to_json().values() if isinstance(v, int)),
        repr(trace),
    )


def shorter(trace: Trace) -> Iterator[Trace]:
    """Halves, quarters, ... down to single operations left out."""
    count = len(trace.operations)
    size = max(1, count // 2)
    while True:
        for begin in range(0, count, size):
            kept = trace.operations[:begin] + trace.operations[begin + size :]
            yield replace(trace, operations=kept)
        if size == 1:
            return
        size //= 2


def inserts_for_requests(trace: Trace) -> Iterator[Trace]:
    """What one request computed, inserted directly: once for each of its chunks, or once."""
    admissions = [(i, o) for i, o in enumerate(trace.operations) if isinstance(o, Admit)]
    for begin, admitted in admissions:
        kept: list[Operation] = []
        computed = 0
        for o in trace.operations[begin + 1 :]:
            if getattr(o, "request", None) != admitted.request:
                kept.append(o)
            elif isinstance(o, Prefill):
                computed += o.count
                kept.append(Insert(admitted.tokens[:computed], admitted.namespace))
        whole = Insert(admitted.tokens, admitted.namespace)
        yield replace(trace, operations=(*trace.operations[:begin], *kept))
        yield replace(trace, operations=(*trace.operations[:begin], whole, *kept))


def simpler_operations(trace: Trace) -> Iterator[Trace]:
    """One operation with a shorter key, a smaller number or a default."""
    for i, operation in enumerate(trace.operations):
        for simpler in _simpler(operation, trace.config.page_size):
            changed = (*trace.operations[:i], simpler, *trace.operations[i + 1 :])
            yield replace(trace, operations=changed)
    yield from _shorter_keys_everywhere(trace)


def _simpler(operation: Operation, page_size: int) -> Iterator[Operation]:
    for f in fields(operation):
        value = getattr(operation, f.name)
        if isinstance(value, tuple):
            for cut in dict.fromkeys((len(value) // 2, len(value) - page_size, len(value) - 1)):
                if 0 < cut < len(value):
                    yield _with(operation, f.name, value[:cut])
        elif isinstance(value, bool):
            if value != f.default:
                yield _with(operation, f.name, f.default)
        elif value is not None and f.default is None:
            yield _with(operation, f.name, None)
        elif isinstance(value, int):
            for smaller in dict.fromkeys((0, value // 2, value - page_size, value - 1)):
                if 0 <= smaller < value:
                    yield _with(operation, f.name, smaller)
        elif f.name == "namespace" and value:
            yield _with(operation, f.name, "")


def _with(operation: Operation, name: str, value: object) -> Operation:
    """The operation with one field changed."""
    changed: Operation = replace(operation, **{name: value})  # type: ignore[arg-type]
    return changed


def _shorter_keys_everywhere(trace: Trace) -> Iterator[Trace]:
    """The same token, or the same position, changed in all operations at once."""
    size = trace.config.page_size
    keys = [getattr(o, "tokens", ()) for o in trace.operations]
    for token in sorted({t for key in keys for t in key}, reverse=True):
        for lower in range(1, token):
            yield _with_keys(trace, [tuple(lower if t == token else t for t in k) for k in keys])
    for begin in range(0, max(map(len, keys), default=0), size):
        yield _with_keys(trace, [k[:begin] + k[begin + size :] for k in keys])
    plain = tuple(
        _with(o, "namespace", "") if hasattr(o, "namespace") else o for o in trace.operations
    )
    yield replace(trace, operations=plain)


def _with_keys(trace: Trace, keys: list[tuple[int, ...]]) -> Trace:
    changed = tuple(
        _with(o, "tokens", key) if hasattr(o, "tokens") else o
        for o, key in zip(trace.operations, keys, strict=True)
    )
    return replace(trace, operations=changed)


def simpler_configurations(trace: Trace) -> Iterator[Trace]:
    """Page 1, small windows, plain thresholds, pools of a usual size."""
    config = trace.config
    plain = CacheConfig()
    wanted: list[tuple[str, Any]] = [("page_size", 1), ("sliding_window", 1)]
    wanted += [(f.name, getattr(plain, f.name)) for f in fields(CacheConfig)]
    for name, value in wanted:
        if getattr(config, name) != value:
            try:
                raw = {**config.to_json(), name: list(value) if name == "components" else value}
                yield replace(trace, config=CacheConfig.from_json(raw))
            except ConfigError:
                continue
