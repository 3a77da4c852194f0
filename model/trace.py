"""A trace: a configuration and a list of operations, as plain JSON that people can read.

It is the only thing that machines, solvers, bug reports and people exchange. ``loads`` refuses
anything that is not exactly a trace with one clear line (``TraceError``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints

from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError, TraceError
from radixproof.model.operations import (
    EVERY_OPERATION,
    NAMES,
    SESSION_OPERATIONS,
    Operation,
    Tokens,
)

SCHEMA = 1
"""Version of the trace format; a reader refuses any other."""
MAX_TOKEN = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Trace:
    """``note`` is for people: what the trace shows, in a sentence."""

    config: CacheConfig
    operations: tuple[Operation, ...]
    note: str = ""


def dumps(trace: Trace) -> str:
    """The trace as JSON, one operation a line; ``loads`` gives back an equal trace."""
    head = [f'  "schema": {SCHEMA},']
    if trace.note:
        head.append(f'  "note": {json.dumps(trace.note)},')
    head.append(f'  "config": {json.dumps(trace.config.to_json())},')
    body = ",\n".join(f"    {json.dumps(operation_to_json(o))}" for o in trace.operations)
    operations = f"[\n{body}\n  ]" if body else "[]"
    return "{\n" + "\n".join(head) + f'\n  "operations": {operations}\n}}\n'


def loads(text: str) -> Trace:
    """Parse a trace. Raises ``TraceError`` with one line that says what is wrong and where."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise TraceError(f"not JSON: {str(problem).splitlines()[0]}") from None
    if not isinstance(raw, Mapping):
        raise TraceError(f"a trace is a JSON object, not {_kind(raw)}")
    if "schema" not in raw:
        raise TraceError("no field 'schema'")
    if type(raw["schema"]) is not int or raw["schema"] != SCHEMA:
        raise TraceError(f"schema {raw['schema']!r} is not supported; this reads schema {SCHEMA}")
    unknown = sorted(set(raw) - {"schema", "note", "config", "operations"})
    if unknown:
        raise TraceError(f"unknown field {unknown[0]!r}")
    if "config" not in raw:
        raise TraceError("no field 'config'")
    try:
        config = CacheConfig.from_json(raw["config"])
    except ConfigError as problem:
        raise TraceError(f"config: {problem}") from None
    operations = raw.get("operations")
    if not isinstance(operations, list):
        raise TraceError(f"'operations' must be a list, not {_kind(operations)}")
    note = raw.get("note", "")
    if not isinstance(note, str):
        raise TraceError(f"'note' must be a string, not {_kind(note)}")
    parsed = tuple(_numbered(i, o) for i, o in enumerate(operations))
    for i, o in enumerate(parsed):
        if NAMES[type(o)] in SESSION_OPERATIONS and not config.sessions:
            name = NAMES[type(o)]
            raise TraceError(f"operation {i + 1}: {name} wants a configuration with sessions")
    return Trace(config, parsed, note)


def operation_to_json(operation: Operation) -> dict[str, Any]:
    """``{"op": name, ...}`` with the fields that differ from their defaults."""
    raw: dict[str, Any] = {"op": NAMES[type(operation)]}
    for f in fields(operation):
        value = getattr(operation, f.name)
        if f.default is MISSING or value != f.default:
            raw[f.name] = list(value) if isinstance(value, tuple) else value
    return raw


def operation_from_json(raw: object) -> Operation:
    """Inverse of ``operation_to_json``. Raises ``TraceError``."""
    if not isinstance(raw, Mapping):
        raise TraceError(f"an operation is an object, not {_kind(raw)}")
    name = raw.get("op")
    if not isinstance(name, str) or name not in EVERY_OPERATION:
        raise TraceError(f"unknown operation {name!r}")
    cls = EVERY_OPERATION[name]
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for f in fields(cls):
        if f.name in raw:
            values[f.name] = _value(name, f.name, hints[f.name], raw[f.name])
        elif f.default is MISSING:
            raise TraceError(f"{name}: no field {f.name!r}")
    unknown = sorted(set(map(str, raw)) - {f.name for f in fields(cls)} - {"op"})
    if unknown:
        raise TraceError(f"{name}: unknown field {unknown[0]!r}")
    return cls(**values)


def _numbered(index: int, raw: object) -> Operation:
    try:
        return operation_from_json(raw)
    except TraceError as problem:
        raise TraceError(f"operation {index + 1}: {problem}") from None


def _value(op: str, name: str, kind: Any, value: Any) -> Any:
    where = f"{op}: field {name!r}"
    if kind == Tokens:
        if not isinstance(value, list) or not all(
            type(t) is int and 0 <= t <= MAX_TOKEN for t in value
        ):
            raise TraceError(f"{where} must be a list of token ids from 0 to {MAX_TOKEN}")
        return tuple(value)
    if kind is str and not isinstance(value, str):
        raise TraceError(f"{where} must be a string, not {_kind(value)}")
    if kind is bool and not isinstance(value, bool):
        raise TraceError(f"{where} must be true or false, not {_kind(value)}")
    if kind is int and (type(value) is not int or abs(value) > MAX_TOKEN):
        raise TraceError(f"{where} must be an integer, not {_kind(value)}")
    if (
        kind == int | None
        and value is not None
        and (type(value) is not int or abs(value) > MAX_TOKEN)
    ):
        raise TraceError(f"{where} must be an integer or null, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    if value is None:
        return "null"
    return names.get(type(value), f"a number ({value!r})"[:60])
