"""``radixproof replay``: run a trace on a subject, exactly as written."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_device, add_json, add_subject, subject_of, writable
from radixproof.cli.releases import (
    add_ranks,
    add_release,
    is_release,
    process_of,
    reach_of,
    require_server,
)
from radixproof.cli.report import counterexample_text, links_text
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.corpus import load
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.replay import replay
from radixproof.stateful_tests.sglang.judge import replay_on


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("replay", help="run a trace on a subject, exactly")
    parser.add_argument("trace", metavar="TRACE", help="a trace file (JSON)")
    parser.add_argument(
        "--allow-illegal",
        action="store_true",
        help="illegal operations are part of the trace and must be refused",
    )
    parser.add_argument(
        "--relation",
        action="store_true",
        help="also explain every step by the transitions that are proved",
    )
    parser.add_argument(
        "--past",
        action="append",
        default=[],
        metavar="SLUG",
        help="of a release: go on after a step that violates this, if it leads to a good state",
    )
    add_subject(parser)
    add_device(parser)
    add_json(parser)
    add_ranks(add_release(parser))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target, trace, coverage = writable(args.json), load(Path(args.trace)), Coverage()
    if args.ranks:
        config = replace(trace.config, ranks=args.ranks, pipeline=args.pipeline)
        trace = replace(trace, config=config)
    if args.relation and trace.config.sessions:
        raise UsageError("--relation goes without sessions: what is proved has none")
    if args.storage and trace.config.storage is None:
        raise UsageError(f"{args.trace}: its configuration has no storage tier")
    if is_release(args.subject):
        with process_of(args) as process:
            require_server(Limits(storage=args.storage), process)
            found = replay_on(
                process,
                trace,
                reach_of(args),
                coverage,
                relation=args.relation,
                past=args.past,
            )
    else:
        if args.past:
            raise UsageError("--past goes with --subject sglang... only")
        subject = subject_of(args)
        found = replay(
            trace,
            subject,
            allow_illegal=args.allow_illegal,
            relation=args.relation,
            coverage=coverage,
        )
    as_json.write(
        target,
        {
            "command": "replay",
            "subject": args.subject,
            "verdict": as_json.verdict(found),
            "counterexample": as_json.counterexample_json(found),
            "coverage": as_json.coverage_json(coverage),
            "timing": {},
        },
    )
    if found is not None:
        print(counterexample_text(found, None, args.subject))
        return COUNTEREXAMPLE
    print(f"held: {coverage.steps} steps, {coverage.evaluations} invariant evaluations")
    print("\n".join(links_text(coverage)), end="\n" if coverage.links else "")
    illegal = sum(n for (_, kind), n in coverage.outcomes.items() if kind not in ("ok", "refused"))
    if illegal:
        print(f"{illegal} of the steps were illegal there and did nothing")
    return HELD
