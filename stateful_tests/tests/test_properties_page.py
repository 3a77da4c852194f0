"""docs/properties.md names invariants and operations that exist, and leaves out no property."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.checker import STATE_INVARIANTS
from radixproof.model.config import WRITE_POLICIES, CacheConfig
from radixproof.model.operations import EVERY_OPERATION
from radixproof.stateful_tests.verdict import CRASH

PAGE = (Path(__file__).parents[2] / "docs" / "properties.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [PC]\d", line)]


@pytest.mark.parametrize(("letter", "count"), [("P", 21), ("C", 22)])
def test_every_row_is_there(letter: str, count: int) -> None:
    rows = [row.split("|")[1].strip() for row in ROWS]
    assert [r for r in rows if r[0] == letter] == [f"{letter}{i + 1}" for i in range(count)]


def test_every_name_exists() -> None:
    fields = set(CacheConfig().to_json()) | {"swa_evicted", "chunked"}
    assert STATE_INVARIANTS, "the catalogue is filled"
    known = {*CATALOGUE, *EVERY_OPERATION, *WRITE_POLICIES, *fields, CRASH}
    known |= {"test_deep_chains.py", "test_invariants.py"}
    named = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}
    assert named <= known, named - known
