"""``radixproof check``: judge a subject."""

from __future__ import annotations

import argparse
from time import monotonic

from radixproof.cli import as_json, check_release
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import (
    Options,
    add_components,
    add_device,
    add_json,
    add_servers,
    add_shapes,
    add_strategy,
    add_subject,
    limits_of,
    natural,
    seconds,
    subject_of,
    writable,
)
from radixproof.cli.progress import meter
from radixproof.cli.releases import add_ranks, add_release, is_release
from radixproof.cli.report import counterexample_text, keep, links_text, outcomes_table
from radixproof.invariants.catalogue import number_judged
from radixproof.model.errors import NO_RANKS
from radixproof.stateful_tests.gate import GateReport, run_gate
from radixproof.stateful_tests.profiles import PROFILES


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="judge a subject",
        usage="%(prog)s [--subject NAME] [--components LIST] [--policy POLICY]"
        " [--time S] [--seed N] [more]",
        description="Judge a cache: random operations, and after each all that must hold.",
        epilog="exit status: 0 held, 1 counterexample, 2 wrong use or environment",
    )
    first = parser.add_argument_group("begin with these")
    add_subject(first)
    add_components(first)
    first.add_argument(
        "--time", type=seconds, metavar="S", help="run for so long instead of the profile's counts"
    )
    first.add_argument(
        "--seed", type=natural, metavar="N", help="same seed, same verdict, same trace"
    )
    _add_run(parser.add_argument_group("the run"))
    add_shapes(parser.add_argument_group("what else is drawn, unless it is fixed here"))
    servers = add_release(parser)
    add_strategy(servers)
    add_servers(servers)
    add_ranks(servers)
    parser.set_defaults(run=run)


def _add_run(options: Options) -> None:
    options.add_argument(
        "--profile", default="quick", choices=tuple(PROFILES), help="how much (default: quick)"
    )
    options.add_argument(
        "--relation",
        action="store_true",
        help="also explain every step by the transitions that are proved",
    )
    add_json(options)
    add_device(options)


def run(args: argparse.Namespace) -> int:
    if is_release(args.subject):
        return check_release.run(args)
    if args.budget or args.decode_server:
        raise UsageError("--budget and --decode-server go with --subject sglang...")
    if args.ranks or args.pipeline:
        raise UsageError(NO_RANKS)
    open_subject, limits, target = subject_of(args), limits_of(args), writable(args.json)
    if limits.sessions:
        raise UsageError("--sessions goes with --subject sglang... only")
    begin = monotonic()
    with meter(f"check {args.subject}") as progress:
        report = run_gate(
            open_subject,
            PROFILES[args.profile],
            seed=args.seed,
            limits=limits,
            seconds=args.time,
            progress=progress,
            relation=args.relation,
        )
    spent = monotonic() - begin
    as_json.write(target, _result(args, report, spent))
    found = report.counterexample
    if found is not None:
        print(counterexample_text(found, keep(found), args.subject))
        print(f"found by the {report.found_by}, seed {report.seed}, in {spent:.1f} s")
        return COUNTEREXAMPLE
    print(held_text(report, spent))
    if report.interrupted:
        raise UsageError("interrupted; what was checked until then held")
    return HELD


def held_text(report: GateReport, spent: float) -> str:
    """What was covered, and what was not."""
    c = report.coverage
    verdict = "held so far" if report.interrupted else "held"
    lines = [
        f"{verdict}: {c.configurations} configurations, {c.steps} steps,"
        f" {number_judged()} invariants, {c.evaluations} invariant evaluations",
        f"seed {report.seed}, {spent:.1f} s, {c.steps / max(spent, 1e-9):.0f} checked steps/s",
        *links_text(c),
        "",
        *outcomes_table(c.outcomes),
    ]
    if report.never:
        lines.append(f"never performed: {', '.join(report.never)}")
    return "\n".join(lines)


def _result(args: argparse.Namespace, report: GateReport, spent: float) -> dict[str, object]:
    return {
        "command": "check",
        "subject": args.subject,
        "profile": args.profile,
        "seed": report.seed,
        "rounds": report.rounds,
        "verdict": "interrupted" if report.interrupted else as_json.verdict(report.counterexample),
        "found_by": report.found_by,
        "counterexample": as_json.counterexample_json(report.counterexample),
        "coverage": as_json.coverage_json(report.coverage),
        "never_performed": report.never,
        "timing": {"seconds": spent, "steps_per_second": report.coverage.steps / spent},
    }
