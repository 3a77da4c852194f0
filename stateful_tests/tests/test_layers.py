"""Arrows point one way: cli -> stateful_tests -> {impl, invariants} -> model."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "model": {"model"},
    "impl": {"impl", "model"},
    "invariants": {"invariants", "model"},
    "stateful_tests": {"stateful_tests", "impl", "invariants", "model"},
    "stateful_tests/tests": {"cli", "benchmarks", "stateful_tests", "impl", "invariants", "model"},
    "benchmarks": {"benchmarks", "stateful_tests", "impl", "invariants", "model"},
    "cli": {"cli", "benchmarks", "stateful_tests", "impl", "invariants", "model"},
}
ROOMS = {room for room in MAY_IMPORT if "/" not in room}
VOCABULARY = {
    *("config", "operations", "outcome", "errors"),
    *("snapshot", "payload", "subject", "options", "units", "blocks", "ranks"),
    *("storage", "storage_operations"),
}
"""What the torch cache and the invariants may know of the model: words, not decisions."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_one_way(room: str) -> None:
    tests = ROOT / "stateful_tests" / "tests"
    files = [
        path
        for path in sorted((ROOT / room).rglob("*.py"))
        if room == "stateful_tests/tests" or tests not in path.parents
    ]
    assert files
    for path in files:
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "radixproof" and len(parts) > 1 and parts[1] in ROOMS:
                assert parts[1] in MAY_IMPORT[room], f"{path} imports {name}"


def test_the_model_needs_nothing_but_python() -> None:
    for path in (ROOT / "model").glob("*.py"):
        for name in imports(path):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | {"radixproof"}, f"{path} imports {name}"
            assert top not in {"time", "random", "os", "io", "pathlib"}, f"{path} imports {name}"


@pytest.mark.parametrize("room", ["impl", "invariants"])
def test_no_decision_of_the_model_is_shared(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[:2] == ["radixproof", "model"] and len(parts) > 2:
                assert parts[2] in VOCABULARY, f"{path} imports {name}"
