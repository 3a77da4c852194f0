"""The limit of the random mode: a Hypothesis machine with as many rules that do nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from radixproof.model.operations import OPERATIONS


class BareMachine(RuleBasedStateMachine):
    """Counts its steps."""

    steps: ClassVar[int] = 0

    @invariant()
    def nothing(self) -> None:
        pass


def _empty_rule(name: str) -> Any:
    def body(self: BareMachine) -> None:
        type(self).steps += 1

    body.__name__ = name
    return rule()(body)


def bare_machine() -> type[BareMachine]:
    """A class of its own with one empty rule per operation."""
    rules: dict[str, Any] = {name: _empty_rule(name) for name in OPERATIONS}
    return type("Bare", (BareMachine,), {"steps": 0, **rules})
