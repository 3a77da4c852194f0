"""A refuted rule on a real cache: the counterexample of the proof as a trace that runs.

A counterexample to induction is a state that satisfies every invariant, which need not be a state
that any run reaches. Where a wrong cache plants the same rule, a run of it that leaves the relation
(or, of slots, reaches a state that violates the theory's sentences) shows that this one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.invariants.catalogue import Step
from radixproof.invariants.checker import check_state, check_step
from radixproof.invariants.proofs.link import explain
from radixproof.invariants.proofs.slots.abstraction import broken
from radixproof.invariants.proofs.slots.theory import SLOTS
from radixproof.invariants.proofs.system import WrongRule
from radixproof.invariants.view import View
from radixproof.model.errors import ErrorKind
from radixproof.model.outcome import Outcome
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot
from radixproof.model.trace import Trace
from radixproof.stateful_tests.corpus import corpus, load
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.shrink import shrink
from radixproof.stateful_tests.variants import VARIANTS, Variant
from radixproof.stateful_tests.variants_table import hunt
from radixproof.stateful_tests.verdict import CRASH

WALKS, HUNTS = 200, 8
"""Walks after which a hunt on the wrong cache gives up, and hunts with other seeds."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A run of the wrong cache whose last step is none that the theory allows."""

    trace: Trace
    outcome: Outcome
    before: Snapshot
    after: Snapshot
    outside: str
    """Why it is not."""
    slugs: tuple[str, ...]
    """Invariants of the catalogue that the run has violated by then."""
    model_holds: bool
    cache_holds: bool
    """The same trace on the model, and on the right cache."""


def reach(rule: WrongRule) -> Reached | None:
    """From the kept traces, else by random walks; ``None`` if no run is known to get there."""
    variant = VARIANTS.get(rule.id)
    if variant is None:
        return None
    runs = (_run(rule, variant, trace) for trace in _traces(rule, variant))
    return next((found for found in runs if found is not None), None)


def _traces(rule: WrongRule, variant: Variant) -> Iterator[Trace]:
    """Those that the corpus keeps of this rule, then what a hunt finds, shrunk."""
    for path in corpus():
        if path.name.startswith(f"{rule.id.lower()}-"):
            yield load(path)
    refuted = frozenset(slug for _, slug in rule.breaks)
    for wanted in (refuted, frozenset(variant.caught_by) - {CRASH}):
        for seed in range(HUNTS):
            found, _ = hunt(variant, seed, agreement=False, limit=WALKS)
            if found is not None and wanted & set(found.slugs):
                yield shrink(found, variant.open, wanted=wanted).trace


def _run(rule: WrongRule, variant: Variant, trace: Trace) -> Reached | None:
    """The run up to the first step that the rule's theory does not have."""
    subject = variant.open(trace.config)
    before = subject.snapshot()
    told: dict[str, None] = {}
    for place, operation in enumerate(trace.operations, start=1):
        outcome = subject.apply(operation)
        if outcome.error is ErrorKind.INTERNAL:
            return None
        after = subject.snapshot()
        violated = (*check_state(after), *check_step(before, operation, outcome, after))
        told.update(dict.fromkeys(v.slug for v in violated))
        outside = _outside(rule, Step(View(before), operation, outcome, View(after)))
        if outside:
            short = Trace(trace.config, trace.operations[:place])
            return Reached(
                short,
                outcome,
                before,
                after,
                outside,
                tuple(told),
                replay(short, ReferenceModel) is None,
                replay(short, open_torch) is None,
            )
        before = after
    return None


def _outside(rule: WrongRule, step: Step) -> str:
    """Why a step is none of the theory's: of the forest by the link, of slots by the state."""
    if rule.right is SLOTS:
        return "".join(f"the slots violate {slug}" for slug in broken(step.after)[:1])
    return "".join(explain(step).faults[:1])
