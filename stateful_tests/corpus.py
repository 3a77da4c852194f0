"""Counterexamples that were kept: every trace dropped into corpus/ is a regression test."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from radixproof.model.errors import TraceError
from radixproof.model.trace import Trace, dumps, loads

CORPUS = Path(__file__).parent / "corpus"


def load(path: Path) -> Trace:
    """Read a trace file. Raises ``TraceError`` with one line that names the file."""
    try:
        return loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise TraceError(f"{path}: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: not a text file") from None
    except TraceError as problem:
        raise TraceError(f"{path}: {problem}") from None


def save(trace: Trace, folder: Path, name: str) -> Path:
    """Write a trace under a name of its own; the same trace always gets the same name."""
    text = dumps(trace)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{sha256(text.encode()).hexdigest()[:8]}.json"
    path.write_text(text, encoding="utf-8")
    return path


def corpus(folder: Path = CORPUS) -> list[Path]:
    """Files of the kept traces, by name."""
    return sorted(folder.glob("*.json"))
