"""The source of the parts that a test needs, and no more: what is named, and what that names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARTS = Path(__file__).parent / "parts"
ORDER = (
    *("copies", "cache", "events", "pools", "recurrent"),
    *("holder", "admission", "requests", "request_state", "sessions", "state", "apart"),
)
"""A part comes after those that it uses."""
_MARGIN = 88
"""Columns of an import line."""


@dataclass(slots=True)
class Piece:
    """A definition. ``inner``: members of a class, or statements of a constructor.

    ``name``: what must be mentioned for it to be there, ``.x`` for an attribute x; "": it is there
    whenever the outer one is.
    """

    name: str
    text: str
    mentions: frozenset[str]
    inner: list[Piece] = field(default_factory=list)
    gap: str = "\n\n"
    """Between the inner ones."""

    def chosen(self, wanted: set[str]) -> bool:
        return not self.name or self.name in wanted

    def needs(self, wanted: set[str]) -> set[str]:
        """What is mentioned by as much of it as is wanted."""
        found = set(self.mentions)
        return found.union(*(i.needs(wanted) for i in self.inner if i.chosen(wanted)))

    def source(self, wanted: set[str]) -> str:
        inner = self.gap.join(i.source(wanted) for i in self.inner if i.chosen(wanted))
        return f"{self.text}\n{inner}" if inner else self.text


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a test can be made of."""

    imports: list[ast.stmt]
    definitions: list[Piece]
    checks: list[Piece]
    """The methods that become those of the test."""

    def needed(self, body: str, *names: str) -> set[str]:
        """The names that a test's body needs, with all that these need."""
        wanted = {*names, *mentioned(ast.parse(body))}
        while True:
            pieces = [*self.definitions, *self.checks]
            found = {n for d in pieces if d.chosen(wanted) for n in d.needs(wanted)}
            if found <= wanted:
                return wanted
            wanted |= found

    def source(self, wanted: set[str]) -> str:
        """Imports and definitions."""
        there = [d for d in self.definitions if d.chosen(wanted)]
        plain = [d.source(wanted) for d in there if "\n" not in d.text]
        large = [d.source(wanted) for d in there if "\n" in d.text]
        blocks = [import_lines(self.imports, wanted), "\n".join(plain)]
        return "\n".join(blocks) + "\n\n\n" + "\n\n\n".join(large)


def load() -> Parts:
    """Read the parts."""
    imports: list[ast.stmt] = []
    definitions: list[Piece] = []
    checks: list[Piece] = []
    for path in [*(PARTS / f"{name}.py" for name in ORDER), *sorted(PARTS.glob("checks/*.py"))]:
        text = path.read_text(encoding="utf-8")
        lines, tree = text.splitlines(), ast.parse(text)
        for statement, follows in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.Try):
                imports.append(statement)
            elif isinstance(statement, ast.ClassDef):
                made = _class(statement, lines)
                if path.parent == PARTS:
                    definitions.append(made)
                else:
                    checks += made.inner
            elif not isinstance(statement, ast.Expr):
                last = follows if isinstance(follows, ast.Expr) else statement
                definitions.append(_piece(_bound(statement), statement, last, lines))
    return Parts(imports, definitions, checks)


def _class(statement: ast.ClassDef, lines: list[str]) -> Piece:
    """Its fields are there with it, its methods only where they are mentioned."""
    fields = [s for s in statement.body if isinstance(s, ast.AnnAssign)]
    methods = [s for s in statement.body if isinstance(s, ast.FunctionDef)]
    inner = [_constructor(m, lines) if m.name == "__init__" else _method(m, lines) for m in methods]
    told = [s for s in statement.body if isinstance(s, ast.Expr | ast.AnnAssign)]
    end = told[-1].end_lineno if told else statement.lineno
    head = _lines(lines, statement.lineno, end)
    mentions = {n for s in (*statement.bases, *fields) for n in mentioned(s)}
    if inner:
        head += "\n"
    return Piece(statement.name, head, frozenset(mentions), inner)


def _constructor(method: ast.FunctionDef, lines: list[str]) -> Piece:
    """An attribute that nothing reads is left out."""
    told = isinstance(method.body[0], ast.Expr) and isinstance(method.body[0].value, ast.Constant)
    first = method.body[1] if told else method.body[0]
    head = _lines(lines, method.lineno, first.lineno - 1)
    inner = [_piece(_attribute(s), s, s, lines) for s in method.body[told:]]
    return Piece("", head, frozenset(mentioned(method.args)), inner, gap="\n")


def _attribute(statement: ast.stmt) -> str:
    """``.x`` of ``self.x = ...``; "" of anything else."""
    target: ast.expr | None = None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        target = statement.target
    return f".{target.attr}" if isinstance(target, ast.Attribute) else ""


def _method(method: ast.FunctionDef, lines: list[str]) -> Piece:
    """What Python itself calls is never mentioned."""
    name = "" if method.name.startswith("__") else f".{method.name}"
    return _piece(name, method, method, lines)


def _piece(name: str, statement: ast.stmt, last: ast.stmt, lines: list[str]) -> Piece:
    decorators = getattr(statement, "decorator_list", ())
    first = min([statement.lineno, *(d.lineno for d in decorators)])
    text = _lines(lines, first, last.end_lineno)
    return Piece(name, text, frozenset(mentioned(statement)))


def _lines(lines: list[str], first: int, last: int | None) -> str:
    return "\n".join(lines[first - 1 : last])


def _bound(statement: ast.stmt) -> str:
    """The name that a statement at the top of a part defines."""
    if isinstance(statement, ast.FunctionDef):
        return statement.name
    assert isinstance(statement, ast.Assign), "a part defines functions, classes and plain names"
    (target,) = statement.targets
    assert isinstance(target, ast.Name), "a part defines functions, classes and plain names"
    return target.id


def mentioned(node: ast.AST) -> Iterator[str]:
    """Every name, and every attribute with a dot before it, that some code reads."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Load):
            yield f".{inner.attr}"
        elif isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Attribute):
            yield f".{inner.target.attr}"


def import_lines(statements: Iterable[ast.stmt], wanted: set[str]) -> str:
    """The imports that are used, the standard library's first; parts do not import each other."""
    named: dict[str, set[str]] = {}
    whole: set[str] = set()
    attempts = []
    for statement in statements:
        if isinstance(statement, ast.Import):
            whole |= {a.name for a in statement.names if a.name in wanted}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            used = {a.name for a in statement.names if a.name in wanted}
            if not statement.module.startswith("radixproof") and used:
                named.setdefault(statement.module, set()).update(used)
        elif set(_imported(statement)) & wanted:
            attempts.append(ast.unparse(statement))
    groups = []
    for ours in (False, True):
        lines = [f"import {m}" for m in sorted(whole) if _foreign(m) == ours]
        lines += [_from(m, sorted(named[m])) for m in sorted(named) if _foreign(m) == ours]
        groups.append("\n".join(lines))
    return "\n\n".join(filter(None, [*groups, *attempts])) + "\n"


def _foreign(module: str) -> bool:
    return module.split(".")[0] not in sys.stdlib_module_names


def _imported(statement: ast.AST) -> Iterator[str]:
    for inner in ast.walk(statement):
        if isinstance(inner, ast.ImportFrom):
            yield from (a.name for a in inner.names)


def _from(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _MARGIN:
        return line
    return "\n".join([f"from {module} import (", *(f"    {n}," for n in names), ")"])
