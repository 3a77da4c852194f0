"""``radixproof explore``: every state of a bounded scope, every operation from each of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import (
    CACHES,
    add_json,
    natural,
    positive,
    subject_of,
    variants_named,
    writable,
)
from radixproof.cli.progress import Meter, meter
from radixproof.cli.report import config_text, counterexample_text, keep, outcomes_table
from radixproof.invariants.catalogue import number_judged
from radixproof.model.operations import NAMES
from radixproof.stateful_tests.explore.memory import MEGABYTE
from radixproof.stateful_tests.explore.operations import universe
from radixproof.stateful_tests.explore.scope import BOUNDS, SCOPES, Scope, bounded
from radixproof.stateful_tests.explore.search import Report, Watcher, explore
from radixproof.stateful_tests.explore.shortest import IN_NO_SCOPE, SHOWN_IN, Shortest, shortest
from radixproof.stateful_tests.explore.states import States
from radixproof.stateful_tests.explore.store import Progress, Store


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explore", help="every state of a bounded scope, without gaps")
    parser.add_argument("--scope", default="tiny", choices=tuple(SCOPES))
    parser.add_argument(
        "--bounds",
        type=bounds,
        default={},
        metavar="LIST",
        help=f"other bounds, such as alphabet=2,longest=3; of {', '.join(BOUNDS)}",
    )
    parser.add_argument("--subject", default="torch", metavar="NAME", help=CACHES)
    parser.add_argument(
        "--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes"
    )
    parser.add_argument(
        "--resume", metavar="DIR", help="keep the exploration there, and go on with what is there"
    )
    parser.add_argument(
        "--states", type=positive, metavar="N", help="stop when so many states are expanded"
    )
    parser.add_argument(
        "--memory",
        type=positive,
        metavar="MB",
        help="stop before all processes together take more; with --resume, nothing is lost",
    )
    parser.add_argument(
        "--variants",
        nargs="*",
        metavar="M-n",
        help="the shortest counterexample of each known-wrong cache, in the scope that shows it",
    )
    add_json(parser)
    parser.set_defaults(run=run, device="cpu")


def run(args: argparse.Namespace) -> int:
    if args.variants is not None:
        return shortest_of_variants(args)
    open_subject, target = subject_of(args), writable(args.json)
    scope = bounded(SCOPES[args.scope], args.bounds)
    if args.memory and not args.resume:
        raise UsageError("--memory needs --resume DIR, so that what was explored is kept")
    store = Store(Path(args.resume), scope, args.subject) if args.resume else None
    with meter(f"explore {scope.name}") as progress:
        report = explore(
            scope,
            open_subject,
            jobs=args.jobs,
            store=store,
            limit=args.states,
            memory=args.memory * MEGABYTE if args.memory else None,
            watch=watcher(progress),
        )
    as_json.write(target, _result(args, report))
    found = report.counterexample
    if found is not None:
        print(counterexample_text(found, keep(found), args.subject))
        print(f"the shortest: every trace of fewer operations in scope {scope.name} holds")
        print(spent_text(report))
        return COUNTEREXAMPLE
    print(held_text(report, args.subject))
    if report.interrupted:
        raise UsageError("interrupted; what was explored until then held")
    if report.full:
        raise UsageError(
            f"{args.memory} MB are used up; what was explored until then held, and is kept in"
            f" {args.resume}: the same line with more memory, or fewer jobs, goes on with it"
        )
    return HELD


def shortest_of_variants(args: argparse.Namespace) -> int:
    """A line each; 1 if one does not show where it did."""
    target, ids = writable(args.json), variants_named(args.variants)
    print(f"{'variant':<8}{'operations':>11}{'states':>8}{'seconds':>9}  scope: what breaks")
    rows = []
    for id in ids:
        if id not in SHOWN_IN:
            print(f"{id:<8}{'-':>11}  {IN_NO_SCOPE.get(id, 'no scope is known that shows it')}")
            continue
        row = shortest(id)
        rows.append(row)
        print(row_text(row), flush=True)
    missed = [row.id for row in rows if row.counterexample is None]
    as_json.write(target, {"command": "explore --variants", "variants": list(map(row_json, rows))})
    print(f"{len(rows) - len(missed)} of {len(rows)} variants with a scope show in it")
    return COUNTEREXAMPLE if missed else HELD


def row_text(row: Shortest) -> str:
    found = row.counterexample
    length = "NOT SHOWN" if found is None else str(len(found.trace.operations))
    broken = ", ".join(row.slugs) or ("agreement alone" if found else "")
    numbers = f"{length:>11}{row.expanded:>8}{row.seconds:>9.1f}"
    return f"{row.id:<8}{numbers}  {row.scope.name}: {broken}"


def row_json(row: Shortest) -> dict[str, Any]:
    return {
        "id": row.id,
        "scope": row.scope.name,
        "expanded": row.expanded,
        "invariants": list(row.slugs),
        "counterexample": as_json.counterexample_json(row.counterexample),
        "timing": {"seconds": row.seconds},
    }


def bounds(text: str) -> dict[str, int]:
    """``alphabet=2,longest=3``."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in BOUNDS:
            raise argparse.ArgumentTypeError(f"no bound {name!r}; there are {', '.join(BOUNDS)}")
        found[name] = natural(value)
    return found


def watcher(progress: Meter) -> Watcher:
    """Shows the level, the frontier, the rate, and when the level will be done."""

    def watch(states: States, done: Progress) -> None:
        level = done.levels[-1]
        expanded = done.expanded - sum(done.levels[:-1])
        rate = done.expanded / max(done.seconds, 1e-6)
        progress.show(
            expanded / level,
            f"level {len(done.levels) - 1}, {len(states)} states, {len(states) - done.expanded}"
            f" in the frontier, {rate:.0f} states/s, {done.edges / max(done.seconds, 1e-6):.0f}"
            f" edges/s, level done in {(level - expanded) / max(rate, 1e-6):.0f} s",
        )

    return watch


def held_text(report: Report, subject: str) -> str:
    """What was searched, and whether that is all there is."""
    p, scope = report.progress, report.scope
    share = p.executed / max(p.edges, 1)
    if report.exhausted:
        verdict = f"held: scope {scope.name} is exhausted"
    else:
        verdict = f"held so far: {report.frontier} states of scope {scope.name} are not expanded"
    performed = {name for name, _ in p.outcomes}
    possible = dict.fromkeys(NAMES[type(o)] for o in universe(scope))
    never = [name for name in possible if name not in performed]
    lines = [
        verdict,
        f"{config_text(scope.config)}; {bounds_text(scope)}",
        f"{report.states} states, {p.edges} edges, {len(p.levels) - 1} operations deep",
        f"{p.executed} edges ({share:.0%}) run on {subject} and judged by agreement and"
        f" {number_judged()} invariants ({p.evaluations} evaluations)",
        spent_text(report),
        "",
        *outcomes_table(p.outcomes),
    ]
    if never:
        lines.append(f"never performed: {', '.join(never)}")
    return "\n".join(lines)


def bounds_text(scope: Scope) -> str:
    """The bounds that are not the configuration's."""
    bounds = ("alphabet", "longest", "requests", "holders", "failures")
    return ", ".join(f"{name} {getattr(scope, name)}" for name in bounds)


def spent_text(report: Report) -> str:
    p = report.progress
    states, edges = (n / max(p.seconds, 1e-6) for n in (p.expanded, p.edges))
    return f"{p.seconds:.1f} s, {states:.0f} states/s, {edges:.0f} edges/s"


def _result(args: argparse.Namespace, report: Report) -> dict[str, Any]:
    p = report.progress
    verdict = (
        "interrupted"
        if report.interrupted or report.full
        else as_json.verdict(report.counterexample)
    )
    return {
        "command": "explore",
        "scope": report.scope.name,
        "subject": args.subject,
        "verdict": verdict,
        "exhausted": report.exhausted,
        "states": report.states,
        "frontier": report.frontier,
        "levels": p.levels,
        "edges": p.edges,
        "edges_executed": p.executed,
        "invariant_evaluations": p.evaluations,
        "outcomes": {f"{o} {kind}": n for (o, kind), n in sorted(p.outcomes.items())},
        "counterexample": as_json.counterexample_json(report.counterexample),
        "timing": {
            "seconds": p.seconds,
            "states_per_second": p.expanded / max(p.seconds, 1e-6),
            "edges_per_second": p.edges / max(p.seconds, 1e-6),
        },
    }
