"""Mutants of a release, one after another under the gate: which does it catch?

Only places that the same walks run are changed, so that a mutant that survives is one whose
harm, if it does any, no oracle sees. The same seed gives the same mutants and the same verdicts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from radixproof.impl.sglang.wheels import Source
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.stateful_tests.mutation import planting
from radixproof.stateful_tests.mutation.sites import Site, sites
from radixproof.stateful_tests.sglang.judge import Plan, judge
from radixproof.stateful_tests.sglang.process import ReleaseProcess, Unusable
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK

ANYTHING = frozenset((*CATALOGUE, CRASH, OWN_CHECK))


@dataclass(frozen=True, slots=True)
class Verdict:
    """``caught_by``: slugs of the first counterexample, () if there was none in all walks.

    ``trouble``: why the mutant cannot be judged at all; "": it was.
    """

    module: str
    site: Site
    caught_by: tuple[str, ...] = ()
    told: str = ""
    steps: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the walks run of the release as it is, and what they find wrong with it already."""

    places: list[tuple[str, Site]]
    own: frozenset[str]
    """Slugs that tell no mutant from the release."""


def baseline(source: Source, plan: Plan, seed: int) -> Baseline:
    """The walks of the plan on a copy that notes which places it runs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = planting.marked(source.root, Path(scratch) / "marked")
        with ReleaseProcess(replace(source, root=folder), {}) as process:
            run = judge(process, replace(plan, shrinks=False), seed)
        ran = planting.reached(folder)
    places = []
    for name in planting.modules_of(source.root):
        text = (source.root / name).read_text(encoding="utf-8")
        places += [(name, s) for s in sites(text) if (name, s.begin, s.end) in ran]
    return Baseline(places, frozenset(s for f in run.found for s in f.counterexample.slugs))


def campaign(
    source: Source, plan: Plan, seed: int, count: int, known: Baseline
) -> Iterator[Verdict]:
    """``count`` mutants, drawn from all."""
    plan = replace(plan, wanted=ANYTHING - known.own, shrinks=False)
    for module, site in Random(seed).sample(known.places, min(count, len(known.places))):
        yield judged(source, plan, seed, module, site)


def judged(source: Source, plan: Plan, seed: int, module: str, site: Site) -> Verdict:
    """One mutant under the walks of the plan, until something that the plan wants shows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = planting.mutant(source.root, Path(scratch) / "mutant", module, site)
        try:
            with ReleaseProcess(replace(source, root=folder), {}) as process:
                run = judge(process, plan, seed)
        except Unusable as problem:
            return Verdict(module, site, trouble=str(problem))
    if run.stopped:
        return Verdict(module, site, trouble=run.stopped)
    steps = run.coverage.steps
    wanted = [f.counterexample for f in run.found if plan.wanted & set(f.counterexample.slugs)]
    if not wanted:
        return Verdict(module, site, steps=steps)
    first = wanted[0]
    return Verdict(module, site, first.slugs, first.findings[0].message, steps)
