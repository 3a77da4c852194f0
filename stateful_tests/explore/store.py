"""An exploration on disk, to be gone on with: three append-only columns and what was counted.

``progress.json`` is written last and replaced at once, and says how much of the columns counts: a
run that was killed goes on from there. A store belongs to one scope, one subject and one version of
the sources; any other is refused in one line.
"""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import radixproof
from radixproof.stateful_tests.explore.canonical import DIGEST_SIZE
from radixproof.stateful_tests.explore.errors import StoreError
from radixproof.stateful_tests.explore.scope import Scope
from radixproof.stateful_tests.explore.states import States

SCHEMA = 1


@dataclass(slots=True)
class Progress:
    """How far an exploration is. A level is all states at one distance from the empty cache."""

    expanded: int = 0
    """States all of whose edges were tried."""
    levels: list[int] = field(default_factory=list)
    """States of each level that was begun."""
    edges: int = 0
    executed: int = 0
    """Edges that the subject performed and that were judged."""
    evaluations: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcomes": [[*key, n] for key, n in sorted(self.outcomes.items())]}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Progress:
        outcomes = Counter({(name, kind): n for name, kind, n in raw["outcomes"]})
        return cls(**{**raw, "outcomes": outcomes})


class Store:
    """The folder of one exploration."""

    def __init__(self, folder: Path, scope: Scope, subject: str) -> None:
        """Raises ``StoreError`` if the folder is another exploration's."""
        self.folder = folder
        self.saved = 0
        self._require_mine({"schema": SCHEMA, "subject": subject, **_identity(scope)})

    def load(self) -> tuple[States, Progress]:
        """What was saved last; nothing, if nothing was."""
        states = States()
        path = self.folder / "progress.json"
        if not path.exists():
            return states, Progress()
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            count = raw.pop("states")
            progress = Progress.from_json(raw)
            parents, places = array("I"), array("H")
            parents.frombytes(self._column("parents", 4 * count))
            places.frombytes(self._column("places", 2 * count))
            states.restore(self._column("digests", DIGEST_SIZE * count), parents, places)
        except (ValueError, KeyError, TypeError) as problem:
            raise StoreError(f"{self.folder}: damaged ({problem}); use another folder") from None
        self.saved = count
        return states, progress

    def save(self, states: States, progress: Progress) -> None:
        """Append what is new, and make it count."""
        sizes = {"digests": DIGEST_SIZE, "parents": 4, "places": 2}
        columns = {
            "digests": bytes(states.unsaved),
            "parents": states.parents[self.saved :].tobytes(),
            "places": states.places[self.saved :].tobytes(),
        }
        for name, new in columns.items():
            with (self.folder / name).open("r+b" if self.saved else "wb") as column:
                column.seek(self.saved * sizes[name])
                column.truncate()
                column.write(new)
        self.saved = len(states)
        states.unsaved.clear()
        self._replace("progress.json", {"states": self.saved, **progress.to_json()})

    def _column(self, name: str, size: int) -> bytes:
        with (self.folder / name).open("rb") as column:
            raw = column.read(size)
        if len(raw) != size:
            raise ValueError(f"{name} is too short")
        return raw

    def _require_mine(self, identity: dict[str, Any]) -> None:
        path = self.folder / "exploration.json"
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise StoreError(f"{self.folder}: not empty, and no exploration")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._replace("exploration.json", identity)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise StoreError(f"{path}: damaged; use another folder") from None
        for name, value in identity.items():
            if not isinstance(found, dict) or found.get(name) != value:
                raise StoreError(
                    f"{self.folder}: the exploration there has another {name}; use another folder"
                )

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(new, self.folder / name)


def _identity(scope: Scope) -> dict[str, Any]:
    bounds = {**asdict(scope), "config": scope.config.to_json()}
    return {"scope": json.loads(json.dumps(bounds)), "version of the sources": _fingerprint()}


def _fingerprint() -> str:
    """Of everything that decides what is found."""
    rooms = Path(radixproof.__file__).parent
    hashed = sha256()
    for room in ("model", "impl", "invariants", "stateful_tests"):
        for path in sorted((rooms / room).resolve().rglob("*.py")):
            if "tests" not in path.parts[-2:]:
                hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()[:16]
