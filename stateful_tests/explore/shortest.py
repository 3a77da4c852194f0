"""In which scope each known-wrong cache shows, and with how few operations.

Breadth first, so no trace of fewer operations shows it in that scope. Scopes are chosen to be the
smallest that were tried; what stands in ``IN_NO_SCOPE`` needs what no scope has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.operations import OPERATIONS
from radixproof.stateful_tests.explore.scope import SCOPES, TINY, Scope, bounded, like_tiny
from radixproof.stateful_tests.explore.search import explore
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.verdict import AGREEMENT, Counterexample

LIMIT = 1000
"""States that are expanded for one variant before it counts as not shown."""

_THREE = like_tiny("three components", components=(FULL, SWA, MAMBA))
_PAGED = {f"{tier}{component}_slots": 4 for tier in ("", "host_") for component in ("full", "swa")}
_SCOPES = (
    (TINY, "M-1 M-1b M-1d M-3 M-4 M-4b M-7 M-12 M-13 M-15 M-18 M-19 M-19b M-20 M-23 M-29"),
    (TINY, "M-30 M-30b M-3b M-48b M-60 M-65"),
    (SCOPES["mamba"], "M-43 M-44 M-45b M-46 M-47 M-48 M-49 M-51"),
    (SCOPES["write-back"], "M-1e M-40"),
    (bounded(SCOPES["write-back"], {"host": 1}), "M-21 M-24 M-36 M-36b M-3c M-64 M-65b M-66 M-71"),
    (SCOPES["waiting"], "M-54 M-76"),
    (SCOPES["small"], "M-25 M-27"),
    (bounded(TINY, {"window": 2}), "M-2 M-8 M-8b M-8c M-22 M-35"),
    (bounded(TINY, {"holders": 1}), "M-10 M-11"),
    (bounded(TINY, {"failures": 1}), "M-1c"),
    (bounded(TINY, {"longest": 3, "device": 3, "host": 3}), "M-5 M-6 M-41"),
    (bounded(TINY, {"longest": 3, "device": 3, "host": 3, "window": 2}), "M-25b"),
    (bounded(SCOPES["mamba"], {"longest": 3, "device": 4, "host": 4}), "M-46b"),
    (_THREE, "M-37 M-45"),
    (replace(_THREE, name="three components, waiting", operations=tuple(OPERATIONS)), "M-55b"),
    (like_tiny("tiny with events", kv_events=True), "M-58 M-58c"),
    (like_tiny("tiny, disabled", disable=True), "M-52"),
    (replace(TINY, name="tiny with chunks", chunked=(False, True)), "M-28"),
    (replace(TINY, name="tiny with quotas", quotas=(None, 0, 1)), "M-38"),
    (
        replace(
            bounded(TINY, {"alphabet": 2, "longest": 1}),
            name="tiny with two keys and limits",
            limits=(None, 1),
        ),
        "M-17",
    ),
    (
        replace(like_tiny("tiny with pages of 2", page_size=2, **_PAGED), longest=4),
        "M-32",
    ),
)
SHOWN_IN = {id: scope for scope, ids in _SCOPES for id in ids.split()}
IN_NO_SCOPE = {
    "M-9": "only an illegal insert shows it, and the explorer makes none",
    "M-57": "bigram keys, which the canonical form does not know",
    "M-58b": "two namespaces, and scopes have one",
}


@dataclass(frozen=True, slots=True)
class Shortest:
    """What one exploration of a wrong cache came to; ``None``: ``LIMIT`` states did not show it."""

    id: str
    scope: Scope
    counterexample: Counterexample | None
    expanded: int
    seconds: float

    @property
    def slugs(self) -> tuple[str, ...]:
        """Invariants that the last operation breaks; none: agreement with the model alone."""
        found = self.counterexample
        return tuple(s for s in found.slugs if s != AGREEMENT) if found else ()


def shortest(id: str) -> Shortest:
    """The shortest counterexample of a variant of ``SHOWN_IN``."""
    begin = perf_counter()
    report = explore(SHOWN_IN[id], VARIANTS[id].open, limit=LIMIT)
    spent = perf_counter() - begin
    found, expanded = report.counterexample, report.progress.expanded
    return Shortest(id, SHOWN_IN[id], found, expanded, spent)
