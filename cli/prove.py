"""``radixproof prove``: the invariants, proved for trees of any size."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from radixproof.cli import as_json, crosshair
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_json, seconds, writable
from radixproof.cli.report import config_text, operation_text
from radixproof.cli.spec import look_up
from radixproof.cli.tree import before_and_after
from radixproof.invariants.proofs import fragment
from radixproof.invariants.proofs.counterexample import Counterexample, smallest
from radixproof.invariants.proofs.mutants import UNEXPLAINED, mutants
from radixproof.invariants.proofs.obligations import known
from radixproof.invariants.proofs.picture import picture
from radixproof.invariants.proofs.prover import PROVED, REFUTED, SECONDS, Result, prove
from radixproof.invariants.proofs.solvers import CVC5, Z3, versions
from radixproof.invariants.proofs.system import Theory, WrongRule
from radixproof.invariants.proofs.theories import THEORIES
from radixproof.invariants.proofs.vacuity import chains, falsified
from radixproof.invariants.proofs.variants import WRONG
from radixproof.model.trace import dumps
from radixproof.stateful_tests.contracts.check import SECONDS as CONTRACT_SECONDS
from radixproof.stateful_tests.refuted import Reached, reach

SOLVERS = {Z3: (Z3,), CVC5: (CVC5,), "both": (Z3, CVC5)}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("prove", help="prove the invariants for trees of any size")
    parser.add_argument("slug", nargs="?", metavar="SLUG", help="only this invariant")
    parser.add_argument("--variant", metavar="M-n", help="prove a known-wrong rule instead")
    parser.add_argument("--solver", choices=tuple(SOLVERS), default=Z3)
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help=f"per obligation and solver ({SECONDS:g}), per contract ({CONTRACT_SECONDS:g})",
    )
    parser.add_argument("--summary", action="store_true", help="no line per obligation")
    parser.add_argument(
        "--guards", action="store_true", help="drop each conjunct of each guard: what notices?"
    )
    parser.add_argument(
        "--crosshair", action="store_true", help="the contracts of the pure functions instead"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.crosshair:
        return crosshair.run(args)
    args.timeout = args.timeout or SECONDS
    target = writable(args.json)
    rule = rule_of(args.variant)
    theories = [rule.theory] if rule else list(THEORIES.values())
    if args.guards:
        return guards(args, theories, target)
    slugs = slugs_of(args.slug, theories)
    used = versions(SOLVERS[args.solver])
    print(f"{rule.id}: {rule.title}" if rule else heading(), flush=True)
    results: list[tuple[Theory, Result]] = []
    for theory in theories:
        for result in prove(theory, tuple(used), slugs=slugs, seconds=args.timeout):
            results.append((theory, result))
            if not args.summary:
                print(line(result), flush=True)
    print("\n".join(table(results)))
    found = list(counterexamples(results, args.timeout))
    for meaning, shown in found:
        print(f"\n{shown.slug}: {meaning}\n{picture(shown)}")
    concrete = reach(rule) if rule and found else None
    if rule and found:
        print("\n" + on_a_cache(rule, concrete))
    print("\n" + verdict([r for _, r in results], used))
    empty = [] if slugs or rule else vacuous(theories, next(iter(used)), args.timeout)
    proved = all(r.status == PROVED for _, r in results) and not empty
    as_json.write(target, _result(args, used, results, [c for _, c in found], empty, concrete))
    return HELD if proved else COUNTEREXAMPLE


def vacuous(theories: Sequence[Theory], solver: str, timeout: float) -> list[str]:
    """What the proofs would hold of for no reason; says so, and what was shown instead."""
    found, longest = [], 0
    for theory in theories:
        reached = chains(theory)
        dead = [t.name for t in theory.transitions if t.name not in reached]
        certain = [f.slug for f in falsified(theory, solver, timeout) if not f.by]
        found += [f"transition {n} is never enabled" for n in dead]
        found += [f"sentence {s} cannot be false" for s in certain]
        longest = max(longest, *(len(chain) - 1 for chain in reached.values()), 0)
    for problem in found:
        print(f"VACUOUS: {problem}")
    if not found:
        print(
            f"not vacuous: each transition is enabled within {longest} steps of the initial state,"
            " each sentence is false after some step without its guard or an effect"
        )
    return found


def guards(args: argparse.Namespace, theories: Sequence[Theory], target: Path | None) -> int:
    """Guard mutation; 1 if a mutant survives that nobody has explained."""
    solver = next(iter(versions(SOLVERS[args.solver])))
    found = []
    for theory in theories:
        for m in mutants(theory, solver, args.timeout):
            found.append(m)
            print(f"{m.verdict:<10}{m.transition:<16}{m.conjunct:<24}{m.why}", flush=True)
    counts = Counter(m.verdict for m in found)
    print(f"\n{len(found)} mutants: " + ", ".join(f"{n} {v}" for v, n in counts.most_common()))
    as_json.write(
        target,
        {
            "command": "prove --guards",
            "solver": solver,
            "mutants": [
                {
                    "transition": m.transition,
                    "conjunct": m.conjunct,
                    "verdict": m.verdict,
                    "refuted_by": list(m.refuted_by),
                    "why": m.why,
                }
                for m in found
            ],
        },
    )
    return COUNTEREXAMPLE if any(m.why == UNEXPLAINED for m in found) else HELD


def rule_of(variant: str | None) -> WrongRule | None:
    """The wrong rule to be refuted. Raises ``UsageError`` for one that no theory knows."""
    if variant is None:
        return None
    if variant not in WRONG:
        raise UsageError(
            f"no wrong rule {variant!r} at the level of the proofs; there are {', '.join(WRONG)}"
        )
    return WRONG[variant]


def slugs_of(name: str | None, theories: Sequence[Theory]) -> list[str]:
    """What to prove; nothing means everything. Raises ``UsageError`` with what is known."""
    if name is None:
        return []
    there = {slug for theory in theories for slug in known(theory)}
    found = [name] if name in there else [i.slug for i in look_up(name) if i.slug in there]
    if not found:
        raise UsageError(
            f"{name} is checked on every step but not proved; docs/proofs.md says what is"
        )
    return found


def heading() -> str:
    return "\n".join(
        f"{name}: {len(theory.transitions)} transitions; {len(theory.invariants)} invariants,"
        f" {sum(i.helper for i in theory.invariants)} of them helpers;"
        f" {len(theory.steps)} step sentences; {len(theory.lemmas)} lemmas"
        for name, theory in THEORIES.items()
    )


def line(result: Result) -> str:
    """One obligation: what, how it ended, how long it took, what the solvers counted."""
    o = result.obligation
    told = []
    for solver, answer in result.answers.items():
        counted = ", ".join(f"{v:.0f} {name}" for name, v in answer.statistics.items())
        told.append(f"{solver} {answer.seconds:.3f} s" + (f" ({counted})" if counted else ""))
    return f"{result.status:<8} {o.transition:<12} {o.slug:<44} {'; '.join(told)}"


def on_a_cache(rule: WrongRule, reached: Reached | None) -> str:
    """The same violation in a run of the torch cache that plants the wrong rule."""
    if reached is None:
        return f"no run of a cache is known to get there: none plants {rule.id}, or none was found"
    lines = [
        f"a run of the torch cache with {rule.id} gets there: {config_text(reached.trace.config)}",
        *(
            f"{place:4}. {operation_text(o)}"
            for place, o in enumerate(reached.trace.operations, start=1)
        ),
        *(f"  {line}" for line in before_and_after(reached.before, reached.after, set())),
        f"  not in the relation: {reached.outside}",
        f"  violates {', '.join(reached.slugs) or 'nothing of the catalogue'}",
        f"  the same run on the model: {_held(reached.model_holds)};"
        f" on the right cache: {_held(reached.cache_holds)}",
    ]
    return "\n".join(lines)


def _held(holds: bool) -> str:
    return "held" if holds else "NOT held"


def table(results: Sequence[tuple[Theory, Result]]) -> Iterator[str]:
    """Sentence by sentence: how many obligations, how many proved, how long."""
    yield f"\n{'sentence':<46}{'obligations':>12}{'proved':>8}{'seconds':>9}{'slowest':>9}  in"
    helpers = {i.slug for theory, _ in results for i in theory.invariants if i.helper}
    for slug in dict.fromkeys(r.obligation.slug for _, r in results):
        mine = [r for _, r in results if r.obligation.slug == slug]
        slowest = max(mine, key=lambda r: r.seconds)
        proved = sum(r.status == PROVED for r in mine)
        yield (
            f"{slug + (' *' if slug in helpers else ''):<46}{len(mine):>12}{proved:>8}"
            f"{sum(r.seconds for r in mine):>9.2f}{slowest.seconds:>9.3f}"
            f"  {slowest.obligation.transition}"
        )
    yield "(* helper: no rule of the catalogue, but what makes the others inductive)"


def counterexamples(
    results: Sequence[tuple[Theory, Result]], timeout: float
) -> Iterator[tuple[str, Counterexample]]:
    """Of every refuted rule of the catalogue, or else of the helpers: its sentence, the example."""
    refuted = [(t, r.obligation) for t, r in results if r.status == REFUTED]
    helpers = {i.slug for theory, _ in refuted for i in theory.invariants if i.helper}
    for theory, o in [(t, o) for t, o in refuted if o.slug not in helpers] or refuted:
        found = smallest(theory, o, timeout)
        if found is not None:
            yield next(c.meaning for c in theory.claims if c.slug == o.slug), found


def verdict(results: Sequence[Result], used: dict[str, str]) -> str:
    spent = {s: sum(r.answers[s].seconds for r in results) for s in used}
    by = "; ".join(f"{s} {v}: {spent[s]:.2f} s of processor time" for s, v in used.items())
    left = [r for r in results if r.status != PROVED]
    if not left:
        found = sorted(fragment.of_obligations(r.obligation for r in results))
        arrows = ", ".join(f"{a} -> {b}" for a, b in found) or "none"
        cyclic = "a CYCLE: not" if fragment.has_cycle(found) else "no cycle:"
        return (
            f"PROVED: {len(results)} obligations for trees of any size ({by})\n"
            f"quantifier alternations: {arrows}; {cyclic} effectively propositional"
        )
    refuted = sum(r.status == REFUTED for r in left)
    unknown = len(left) - refuted
    return (
        f"NOT PROVED: {refuted} of {len(results)} obligations refuted"
        + (f", {unknown} unknown or disputed" if unknown else "")
        + f" ({by})"
    )


def _result(
    args: argparse.Namespace,
    used: dict[str, str],
    results: Sequence[tuple[Theory, Result]],
    found: Sequence[Counterexample],
    empty: Sequence[str],
    concrete: Reached | None,
) -> dict[str, Any]:
    return {
        "command": "prove",
        "variant": args.variant,
        "solvers": used,
        "verdict": "held"
        if all(r.status == PROVED for _, r in results) and not empty
        else "counterexample",
        "obligations": [
            {
                "kind": r.obligation.kind,
                "transition": r.obligation.transition,
                "slug": r.obligation.slug,
                "status": r.status,
                "answers": {s: a.status for s, a in r.answers.items()},
                "statistics": {s: dict(a.statistics) for s, a in r.answers.items()},
            }
            for _, r in results
        ],
        "counterexamples": [
            {"transition": c.transition, "slug": c.slug, "nodes": c.nodes, "picture": picture(c)}
            for c in found
        ],
        "vacuous": list(empty),
        "reached_by": json.loads(dumps(concrete.trace)) if concrete else None,
        "timing": {s: [r.answers[s].seconds for _, r in results] for s in used},
    }
