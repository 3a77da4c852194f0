"""``radixproof reproduce``: find a known bug from scratch, or show that its fix holds."""

from __future__ import annotations

import argparse
from time import monotonic

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_json, natural, writable
from radixproof.cli.report import counterexample_text, keep
from radixproof.stateful_tests.bugs import BUGS, hunt, hunt_fixed


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("reproduce", help="find a known bug from scratch")
    parser.add_argument("bug", metavar="BUG", help=f"one of {', '.join(BUGS)}")
    parser.add_argument("--fixed", action="store_true", help="the same search on the right cache")
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    if args.bug not in BUGS:
        raise UsageError(f"no bug {args.bug!r} is known here; there are {', '.join(BUGS)}")
    bug = BUGS[args.bug]
    begin = monotonic()
    result = hunt_fixed(bug, args.seed) if args.fixed else hunt(bug, args.seed)
    spent = monotonic() - begin
    found = result.counterexample
    as_json.write(
        target,
        {
            "command": "reproduce",
            "bug": bug.id,
            "fixed": args.fixed,
            "seed": args.seed,
            "verdict": as_json.verdict(found),
            "steps_to_detection": result.steps,
            "counterexample": as_json.counterexample_json(found),
            "coverage": as_json.coverage_json(result.coverage),
            "timing": {"seconds": spent},
        },
    )
    print(f"{bug.id}: {bug.title}")
    print(bug.story)
    print()
    if found is None:
        c = result.coverage
        print(f"held: {c.configurations} configurations, {c.steps} steps, {spent:.1f} s")
        return HELD
    print(counterexample_text(found, keep(found), bug.variant))
    print(f"found from scratch in {result.steps} steps, {spent:.1f} s, seed {args.seed}")
    return COUNTEREXAMPLE
