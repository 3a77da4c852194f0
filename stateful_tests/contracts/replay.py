"""A symbolic counterexample is believed only once it has been run.

CrossHair executes functions on symbolic values, and a flaw there shows a counterexample that is
none: 0.0.112 and 0.0.113 refute ``a[:0] == b[:0]`` for tuples. So the call it prints is read, with
literals for arguments and nothing else, and made.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Any

Contract = Callable[..., None]


class Replayed(StrEnum):
    """What became of a counterexample."""

    BROKEN = "broken"
    """The promise does not hold for these arguments."""
    HOLDS = "holds"
    """It does: the counterexample is false."""
    OUTSIDE = "outside"
    """A precondition does not hold for them, so nothing is promised."""
    UNREADABLE = "unreadable"
    """The call is no call with literals."""


def replay(contract: Contract, call: str) -> Replayed:
    """Make the call that a counterexample names."""
    try:
        args, kwargs = arguments(call)
        inspect.signature(contract).bind(*args, **kwargs)
    except (ValueError, TypeError, SyntaxError):
        return Replayed.UNREADABLE
    try:
        contract(*args, **kwargs)
    except AssertionError as problem:
        outside = _line_in(contract, problem.__traceback__) in precondition_lines(contract)
        return Replayed.OUTSIDE if outside else Replayed.BROKEN
    except Exception:
        return Replayed.BROKEN
    return Replayed.HOLDS


def arguments(call: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of ``f(1, v1:=(2, 3), b=v1)``. Raises ``ValueError`` for any other text."""
    tree = ast.parse(call, mode="eval").body
    if not isinstance(tree, ast.Call):
        raise ValueError("no call")
    named: dict[str, Any] = {}
    positional = [_value(a, named) for a in tree.args]
    return positional, {k.arg: _value(k.value, named) for k in tree.keywords if k.arg is not None}


def _value(node: ast.expr, named: dict[str, Any]) -> Any:
    """A literal; the same object again where CrossHair says that two arguments are one."""
    if isinstance(node, ast.NamedExpr):
        named[node.target.id] = _value(node.value, named)
        return named[node.target.id]
    if isinstance(node, ast.Name) and node.id in named:
        return named[node.id]
    if isinstance(node, ast.List):
        return [_value(e, named) for e in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(e, named) for e in node.elts)
    return ast.literal_eval(node)


def precondition_lines(contract: Contract) -> set[int]:
    """The lines of the asserts that are preconditions."""
    before, _ = parts(contract)
    first = inspect.getsourcelines(contract)[1]
    return {
        first + line - 1
        for statement in before
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    }


def parts(contract: Contract) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Preconditions and the rest, parted as CrossHair parts them.

    The asserts at the beginning are preconditions; of asserts alone, all but the last.
    """
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(contract))).body
    assert isinstance(function, ast.FunctionDef)
    statements = [s for s in function.body if not _is_docstring(s)]
    begin = next(
        (i for i, s in enumerate(statements) if not isinstance(s, ast.Assert)), len(statements) - 1
    )
    return statements[:begin], statements[begin:]


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _line_in(contract: Contract, trace: TracebackType | None) -> int | None:
    """The line of the contract itself at which an exception passed."""
    code = inspect.unwrap(contract).__code__
    while trace is not None:
        if trace.tb_frame.f_code is code:
            return trace.tb_lineno
        trace = trace.tb_next
    return None
