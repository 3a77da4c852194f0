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


class Dirty(Exception):
    """The release itself does not hold on these walks, so no mutant of it can be told from it."""


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


def changeable(source: Source, plan: Plan, seed: int) -> list[tuple[str, Site]]:
    """Every change of a place that the walks run. Raises ``Dirty``."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = planting.marked(source.root, Path(scratch) / "marked")
        with ReleaseProcess(replace(source, root=folder), {}) as process:
            run = judge(process, replace(plan, wanted=ANYTHING), seed)
        if run.found:
            raise Dirty(
                f"{source.name} itself shows {', '.join(run.found[0].counterexample.slugs)}"
            )
        ran = planting.reached(folder)
    found = []
    for name in planting.modules_of(source.root):
        text = (source.root / name).read_text(encoding="utf-8")
        found += [(name, s) for s in sites(text) if (name, s.begin, s.end) in ran]
    return found


def campaign(source: Source, plan: Plan, seed: int, count: int) -> Iterator[Verdict]:
    """``count`` mutants, drawn from all. Raises ``Dirty``."""
    places = changeable(source, plan, seed)
    for module, site in Random(seed).sample(places, min(count, len(places))):
        yield judged(source, plan, seed, module, site)


def judged(source: Source, plan: Plan, seed: int, module: str, site: Site) -> Verdict:
    """One mutant under the walks of the plan."""
    plan = replace(plan, wanted=ANYTHING, shrinks=False)
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
    if not run.found:
        return Verdict(module, site, steps=steps)
    first = run.found[0].counterexample
    return Verdict(module, site, first.slugs, first.findings[0].message, steps)
