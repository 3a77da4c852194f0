"""Production request traces in the Mooncake JSONL format (FAST'25 trace release, Apache-2.0).

One JSON object a line: ``timestamp`` (ms), ``input_length`` and ``output_length`` (tokens) and
``hash_ids``, one per block of 512 input tokens; equal ids mean equal prefixes up to that block.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
"""Input tokens that one hash id stands for."""
_OUTPUT = 1 << 30
"""First token id of outputs: no prompt has any of them."""


class WorkloadError(ValueError):
    """A workload that cannot be read; one line with file and line number."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request, scaled to blocks of fewer tokens."""

    number: int
    timestamp: int
    prompt: tuple[int, ...]
    output: tuple[int, ...]


def read(path: Path, block_tokens: int) -> Iterator[RecordedRequest]:
    """The requests of a file, plain or gzip. Raises ``WorkloadError``."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt") if packed else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _request(path, number, line, block_tokens)
    except (OSError, EOFError, zlib.error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise WorkloadError(f"{path}: {reason}") from None
    except UnicodeDecodeError:
        raise WorkloadError(f"{path}: not a text file") from None


def _request(path: Path, number: int, line: str, block_tokens: int) -> RecordedRequest:
    where = f"{path}, line {number}"
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise WorkloadError(f"{where}: not JSON") from None
    if not isinstance(raw, dict):
        raise WorkloadError(f"{where}: not a JSON object")
    lengths = []
    for name in ("timestamp", "input_length", "output_length"):
        value = raw.get(name)
        if type(value) is not int or value < 0:
            raise WorkloadError(f"{where}: {name} must be an integer of at least 0")
        lengths.append(value)
    ids = raw.get("hash_ids")
    if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids) or not ids:
        raise WorkloadError(f"{where}: hash_ids must be a list of integers of at least 0")
    timestamp, input_length, output_length = lengths
    if max(ids) >= _OUTPUT // block_tokens:
        raise WorkloadError(f"{where}: a hash id is too large")
    tokens = [i * block_tokens + j + 1 for i in ids for j in range(block_tokens)]
    prompt = tokens[: max(1, scaled(input_length, block_tokens))]
    count = max(1, scaled(output_length, block_tokens))
    output = tuple(_OUTPUT + (number * 4096 + j) % _OUTPUT for j in range(count))
    return RecordedRequest(number, timestamp, tuple(prompt), output)


def scaled(length: int, block_tokens: int) -> int:
    """A length in tokens where a block has ``block_tokens`` instead of 512."""
    return -(-length * block_tokens // BLOCK)
