"""Tests that are exported although nothing is wrong, to show that they pass."""

from __future__ import annotations

import ast
import sys

from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.outcome import ok
from radixproof.model.trace import Trace
from radixproof.stateful_tests.verdict import CRASH, Counterexample, Finding

ONE_TIER = CacheConfig((FULL,), host_full_slots=0)


def as_if_wrong(trace: Trace, *slugs: str) -> Counterexample:
    findings = tuple(Finding("nobody", slug, None, slug) for slug in slugs)
    last = len(trace.operations) - 1
    return Counterexample(trace, last, trace.operations[-1], ok(), None, None, findings)


def assert_stands_alone(text: str) -> None:
    """It imports the standard library, torch and SGLang, and says what it is about."""
    tree = ast.parse(text)
    tops = {name.split(".")[0] for name in imported(tree)}
    assert tops - set(sys.stdlib_module_names) == {"torch", "sglang"}
    assert "operations" in text
    assert any(slug in (ast.get_docstring(tree) or "") for slug in (*CATALOGUE, CRASH))


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found
