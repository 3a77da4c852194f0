"""``radixproof recall``: how soon the machine finds the known bugs of real releases from cold."""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_json, positive, seconds, writable
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.sglang.judge import Judgement, judge


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("recall", help="known bugs of releases, found from cold")
    parser.add_argument("bugs", metavar="BUG", nargs="*", help="all of them, if none is named")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N")
    parser.add_argument("--time", type=seconds, default=60.0, metavar="S", help="per bug and seed")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    unknown = [b for b in args.bugs if b not in RELEASE_BUGS]
    if unknown:
        raise UsageError(f"no bug {unknown[0]!r}; there are {', '.join(RELEASE_BUGS)}")
    rows = []
    print(
        f"{'bug':<24}{'release':<14}{'fixed in':<10}{'found':>7}{'seconds':>9}{'steps':>8}"
        f"{'ops':>5}  trace"
    )
    for id in args.bugs or RELEASE_BUGS:
        row = _row(RELEASE_BUGS[id], args.seeds, args.time)
        rows.append(row)
        print(_line(row), flush=True)
    found = sum(1 for row in rows if row["found"] == args.seeds)
    print(f"{found} of {len(rows)} found with every one of {args.seeds} seeds")
    as_json.write(target, {"command": "recall", "seeds": args.seeds, "bugs": rows})
    return HELD if found == len(rows) else COUNTEREXAMPLE


def _row(bug: ReleaseBug, seeds: int, limit: float) -> dict[str, Any]:
    with start(f"sglang=={bug.shows}", PYTHON, bug.environment) as process:
        runs = [judge(process, bug.hunt(limit), seed) for seed in range(seeds)]
    finds = [found for run in runs if (found := _wanted(bug, run)) is not None]
    return {
        "bug": bug.id,
        "release": bug.shows,
        "fixed": bug.fixed,
        "found": len(finds),
        "steps": median(f.steps for f in finds) if finds else None,
        "trace": "by hand" if bug.by_hand else "from cold",
        "operations": min((len(f.counterexample.trace.operations) for f in finds), default=None),
        "timing": {"seconds": median(f.seconds for f in finds) if finds else None},
    }


def _wanted(bug: ReleaseBug, run: Judgement) -> Any:
    return next((f for f in run.found if bug.wanted & set(f.counterexample.slugs)), None)


def _line(row: dict[str, Any]) -> str:
    spent, steps, length = row["timing"]["seconds"], row["steps"], row["operations"]
    told = [f"{spent:.1f}" if spent is not None else "-"]
    told += [f"{steps:.0f}" if steps is not None else "-", str(length or "-")]
    return (
        f"{row['bug']:<24}{row['release']:<14}{row['fixed']:<10}{row['found']:>7}"
        f"{told[0]:>9}{told[1]:>8}{told[2]:>5}  {row['trace']}"
    )
