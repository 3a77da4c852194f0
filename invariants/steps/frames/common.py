"""What several of these rules need: sets of operations, and nodes by id."""

from __future__ import annotations

from radixproof.invariants.catalogue import Step
from radixproof.invariants.view import View
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.operations import Operation

ENDING = (op.Finish, op.Abort, op.Retract)


def all_but(*classes: type[Operation]) -> tuple[type[Operation], ...]:
    """All operations but these and ``Reset``, which keeps nothing."""
    return tuple(c for c in op.EVERY_OPERATION.values() if c not in classes and c is not op.Reset)


def id_of(view: View, index: int) -> int:
    """A node's id; the root and detached nodes are their own (negative) names."""
    return view.nodes[index].id if 0 <= index < len(view.nodes) else min(index, -1)


def ids(view: View, indices: tuple[int, ...]) -> list[int]:
    return [id_of(view, i) for i in indices]


def waits_for_its_state(step: Step) -> bool:
    """An abort first lets a load finish that would write into the slot it gives back."""
    if not isinstance(step.operation, op.Abort | op.Retract):
        return False
    name = step.operation.request
    own = [r.state_slot for r in step.before.requests if r.name == name]
    waiting = [m for t in step.before.loads if t.stage != "executed" for m in t.moves]
    return any(m.component == MAMBA and set(own) & set(m.device) for m in waiting)
