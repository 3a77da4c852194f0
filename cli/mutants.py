"""``radixproof mutants``: how many random changes of a release's cache the gate catches."""

from __future__ import annotations

import argparse
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import HELD, UsageError
from radixproof.cli.options import add_json, add_limits, limits_of, natural, positive, writable
from radixproof.cli.releases import source_of
from radixproof.stateful_tests.mutation.campaign import Baseline, Verdict, baseline, campaign
from radixproof.stateful_tests.sglang.judge import Plan


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "mutants", help="random changes of a release's cache, and the gate"
    )
    parser.add_argument("--subject", required=True, metavar="NAME", help="sglang==V or sglang:PATH")
    parser.add_argument("--count", type=positive, default=40, metavar="N", help="mutants")
    parser.add_argument("--walks", type=positive, default=300, metavar="N", help="for each of them")
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    add_limits(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    plan = Plan(args.walks, limits=limits_of(args))
    rows: list[Verdict] = []
    try:
        source = source_of(args.subject)
        known = baseline(source, plan, args.seed)
        print(_known(known), flush=True)
        for verdict in campaign(source, plan, args.seed, args.count, known):
            rows.append(verdict)
            print(_line(verdict), flush=True)
            as_json.write(target, _result(args, rows))
    except KeyboardInterrupt:
        print(_summary(rows))
        raise UsageError("interrupted; the mutants above were judged") from None
    print(_summary(rows))
    return HELD


def _known(known: Baseline) -> str:
    own = f"; of its own it shows {', '.join(sorted(known.own))}" if known.own else ""
    return f"{len(known.places)} changes of code that the walks run{own}"


def _line(v: Verdict) -> str:
    place = f"{v.module.rsplit('/', 1)[-1]}:{v.site.line} {v.site.function}: {v.site.kind}"
    if v.trouble:
        return f"cannot run  {place}: {v.trouble}"
    if not v.caught_by:
        return f"SURVIVED    {place} ({v.steps} steps)"
    return f"caught      {place}: {', '.join(v.caught_by)} ({v.steps} steps)"


def _summary(rows: list[Verdict]) -> str:
    ran = [v for v in rows if not v.trouble]
    caught = [v for v in ran if v.caught_by]
    return f"{len(caught)} of {len(ran)} mutants caught, {len(rows) - len(ran)} could not run"


def _result(args: argparse.Namespace, rows: list[Verdict]) -> dict[str, Any]:
    return {
        "command": "mutants",
        "subject": args.subject,
        "seed": args.seed,
        "walks": args.walks,
        "mutants": [
            {
                "module": v.module,
                "line": v.site.line,
                "function": v.site.function,
                "kind": v.site.kind,
                "wrong": v.site.wrong,
                "caught_by": list(v.caught_by),
                "steps": v.steps,
                "trouble": v.trouble,
            }
            for v in rows
        ],
    }
