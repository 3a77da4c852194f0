"""Places in a module where one small change makes it wrong, and the text that makes it.

Four kinds of change, each a slip that a reviewer can miss: a call or an assignment to a field that
is forgotten, one operand of an ``and`` or ``or`` that is forgotten, a bound that is off by one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

FORGET_CALL = "call forgotten"
FORGET_ASSIGNMENT = "assignment forgotten"
FORGET_OPERAND = "condition forgotten"
OFF_BY_ONE = "bound off by one"
_OTHER_BOUND = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_NOT_THE_CACHE = ("sanity_check", "_check_", "pretty_print", "__repr__", "__str__", "__init__")
"""Parts of the names of functions that only look, or only run once."""
_SKIPPED = (ast.JoinedStr, ast.Assert)
"""Text that is put together has no exact positions (until Python 3.12); asserts only look."""
_TALK = ("logger", "warnings", "print")


@dataclass(frozen=True, slots=True)
class Site:
    """``begin``, ``end``: offsets into the text. ``wrong``: what stands there in the mutant."""

    line: int
    function: str
    kind: str
    begin: int
    end: int
    wrong: str
    is_statement: bool

    def changed(self, source: str) -> str:
        """The text with this one change."""
        wrong = self.wrong if self.is_statement else f"({self.wrong})"
        return source[: self.begin] + wrong + source[self.end :]


def sites(source: str) -> list[Site]:
    """Every change of a module, in the order of its text."""
    at = _Offsets(source)
    found: list[Site] = []
    for function, node in _inside(ast.parse(source), ""):
        for kind, wrong in _changes(node) if function else ():
            assert isinstance(node, ast.stmt | ast.expr)
            begin = at(node.lineno, node.col_offset)
            end = at(node.end_lineno or node.lineno, node.end_col_offset or 0)
            is_statement = isinstance(node, ast.stmt)
            found.append(Site(node.lineno, function, kind, begin, end, wrong, is_statement))
    return sorted(found, key=lambda s: (s.begin, -s.end, s.kind, s.wrong))


def _inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """All below a node, with the innermost function around each."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _SKIPPED):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if not any(part in child.name for part in _NOT_THE_CACHE):
                yield from _inside(child, child.name)
            continue
        yield function, child
        yield from _inside(child, function)


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Expr(value=ast.Call() as call):
            if not ast.unparse(call.func).startswith(_TALK):
                yield FORGET_CALL, "pass"
        case ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield FORGET_ASSIGNMENT, "pass"
        case ast.BoolOp(op=op, values=values):
            word = " and " if isinstance(op, ast.And) else " or "
            for left_out in range(len(values)):
                kept = [ast.unparse(v) for i, v in enumerate(values) if i != left_out]
                yield FORGET_OPERAND, word.join(f"({k})" for k in kept)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OTHER_BOUND:
            sign = _OTHER_BOUND[type(op)]
            yield OFF_BY_ONE, f"({ast.unparse(left)}) {sign} ({ast.unparse(right)})"


class _Offsets:
    """Offset of a line and a column, which ``ast`` counts in bytes."""

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines(keepends=True)
        self.begin = [0]
        for line in self.lines:
            self.begin.append(self.begin[-1] + len(line))

    def __call__(self, line: int, column: int) -> int:
        before = self.lines[line - 1].encode()[:column].decode()
        return self.begin[line - 1] + len(before)
