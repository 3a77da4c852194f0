"""A trace that is not one is refused in one clear line, whatever is wrong with it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import TraceError
from radixproof.model.trace import Trace, dumps, loads

GOOD = Trace(
    CacheConfig(),
    (
        op.Insert((1, 2, 3), swa_evicted=1),
        op.Lock("a", (1,)),
        op.Admit("r", (1, 2), mem_quota=3),
        op.Observe(op.WRITE, 1),
        op.Evict(2, 1),
    ),
)
JUNK: tuple[Any, ...] = (None, True, -1, 1.5, 1 << 40, "x", [], {}, [None], ["a"], [-1], [1 << 40])


def malformed(rng: Random) -> str:
    """A good trace with one thing broken."""
    raw = json.loads(dumps(GOOD))
    text = json.dumps(raw)
    kind = rng.randrange(8)
    if kind == 0:
        return text[: rng.randrange(len(text) - 1)]
    if kind == 1:
        i = rng.randrange(len(text))
        return text[:i] + rng.choice('{}[],:"x\x00') + text[i + 1 :]
    if kind == 2:
        raw[rng.choice(("schema", "config", "operations"))] = rng.choice(JUNK[:3] + JUNK[5:6])
    elif kind == 3:
        del raw[rng.choice(("schema", "config", "operations"))]
    elif kind == 4:
        field = rng.choice(sorted(raw["config"]))
        raw["config"][field] = rng.choice((None, -3, "x", [], 1.5))
    elif kind == 5:
        operation = rng.choice(raw["operations"])
        operation[rng.choice(("op", "surprise"))] = rng.choice((None, "steal", 3))
    elif kind == 6:
        operation = rng.choice(raw["operations"])
        field = rng.choice([f for f in operation if f != "op"])
        operation[field] = rng.choice((None, True, {}, [None], [-1], 1.5, [1 << 40]))
    else:
        operation = rng.choice(raw["operations"])
        del operation[rng.choice(sorted(operation))]
    return json.dumps(raw)


def complaint(text: str) -> str | None:
    """What the reader says; ``None`` where the damage left a trace (a changed token, say)."""
    try:
        loads(text)
    except TraceError as problem:
        return str(problem)
    return None


def test_malformed_traces_get_one_line() -> None:
    rng = Random(0)
    lines = [line for _ in range(1500) if (line := complaint(malformed(rng))) is not None]
    assert len(lines) >= 500
    for line in lines:
        assert "\n" not in line
        assert 5 < len(line) < 400


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"schema": 2}, "schema 2 is not supported; this reads schema 1"),
        ({"schema": True}, "schema True is not supported"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"config": {"page_size": 0}}, "config: page_size must be an integer >= 1"),
        ({"config": {"full_slots": 3, "page_size": 2}}, "must be a multiple of page_size"),
        ({"config": {"components": ["swa"]}}, "components must be one of"),
        ({"config": {"write_policy": "later"}}, "write_policy must be one of"),
        ({"operations": [{"op": "steal"}]}, "operation 1: unknown operation 'steal'"),
        ({"operations": [{"op": "match"}]}, "operation 1: match: no field 'tokens'"),
        ({"operations": [{"op": "match", "tokens": [-1]}]}, "must be a list of token ids"),
        ({"operations": {}}, "'operations' must be a list"),
    ],
)
def test_the_line_says_what_is_wrong(change: dict[str, Any], line: str) -> None:
    raw = {**json.loads(dumps(GOOD)), **change}
    with pytest.raises(TraceError) as problem:
        loads(json.dumps(raw))
    assert line in str(problem.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "[" * 5000, '{"schema": 1'])
def test_what_is_no_trace_at_all(text: str) -> None:
    with pytest.raises(TraceError):
        loads(text)
