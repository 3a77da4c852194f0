"""What a run on a release did so far, for the counterexample that may end it."""

from __future__ import annotations

from collections.abc import Sequence

from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace
from radixproof.stateful_tests.verdict import Counterexample, Finding


class History:
    """The operations of a run so far, the last of them the one that is being judged."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.operations: list[Operation] = []
        self.gone_past: set[str] = set()
        """Rules that earlier steps broke, in ways that are known (passable.py)."""

    def _counterexample(
        self,
        operation: Operation,
        outcome: Outcome | None,
        before: Snapshot,
        after: Snapshot | None,
        findings: Sequence[Finding],
    ) -> Counterexample:
        return Counterexample(
            trace=Trace(self.config, tuple(self.operations)),
            step=len(self.operations) - 1,
            operation=operation,
            outcome=outcome,
            before=before,
            after=after,
            findings=tuple(findings),
            past=frozenset(self.gone_past),
        )
