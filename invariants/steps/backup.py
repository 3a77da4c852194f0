"""What a backup copies (domain.md 6.6)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WRITE_THROUGH, Step, step_invariant
from radixproof.invariants.steps.compare import tier_of
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.config import MAMBA


@step_invariant(
    "S-backup-1",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="write queued in this step, n its lock node, n.c.device after (and before, if n is not"
    " new) => the write moves c",
    without_it="The prefix comes back from the host without its window or its state: of no use.",
    taught_by="M-48",
    holds_under=WRITE_THROUGH,
)
def a_backup_takes_all_that_is_on_device(step: Step) -> Iterator[Fault]:
    """A new backup copies every component that its node had on the device when it was queued."""
    known = {t.id for t in step.before.writes}
    for t in step.after.writes:
        if t.id in known or t.node < 0:
            continue
        moved = {m.component for m in t.moves}
        node, b = step.after.nodes[t.node], step.origin.get(t.node)
        old = step.before.nodes[b] if b is not None else node
        for c in step.after.config.components:
            here = c != MAMBA or old.end == node.end
            had = here and tier_of(old.placement(c), "device") is not None
            if had and tier_of(node.placement(c), "device") is not None and c not in moved:
                yield Fault(f"the backup of {step.after.name(t.node)} leaves out {c}", (t.node,))
