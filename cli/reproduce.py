"""``radixproof reproduce``: show a known bug, planted in our cache and in the real releases."""

from __future__ import annotations

import argparse
import sys
from time import monotonic
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_json, natural, writable
from radixproof.cli.releases import start
from radixproof.cli.report import counterexample_text, keep
from radixproof.impl.sglang.wheels import PYTHON
from radixproof.model.errors import ConfigError
from radixproof.stateful_tests.bugs.planted import BUGS, hunt, hunt_fixed
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS, ReleaseBug
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.verdict import Counterexample

KNOWN = sorted({*BUGS, *RELEASE_BUGS})


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("reproduce", help="show a known bug, and its fix")
    parser.add_argument("bug", metavar="BUG", help=f"one of {', '.join(KNOWN)}")
    parser.add_argument("--fixed", action="store_true", help="only where it is fixed: it holds")
    parser.add_argument(
        "--planted", action="store_true", help="only in our cache; nothing is fetched"
    )
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    if args.bug not in KNOWN or (args.planted and args.bug not in BUGS):
        raise UsageError(f"no bug {args.bug!r} is known here; there are {', '.join(KNOWN)}")
    result: dict[str, Any] = {"command": "reproduce", "bug": args.bug, "fixed": args.fixed}
    shown: list[bool] = []
    if args.bug in BUGS:
        shown.append(_planted(args, result))
    if args.bug in RELEASE_BUGS and not args.planted:
        try:
            shown.append(_in_releases(RELEASE_BUGS[args.bug], args.fixed, result))
        except (UsageError, ConfigError) as problem:
            if not shown:
                raise
            print(f"radixproof: not run on the releases: {problem}", file=sys.stderr)
    result["verdict"] = "counterexample" if any(shown) else "held"
    as_json.write(target, result)
    return COUNTEREXAMPLE if any(shown) else HELD


def _planted(args: argparse.Namespace, result: dict[str, Any]) -> bool:
    """Find the bug from scratch where it is planted; whether it was found."""
    bug = BUGS[args.bug]
    begin = monotonic()
    hunted = hunt_fixed(bug, args.seed) if args.fixed else hunt(bug, args.seed)
    spent = monotonic() - begin
    found = hunted.counterexample
    result |= {
        "seed": args.seed,
        "steps_to_detection": hunted.steps,
        "counterexample": as_json.counterexample_json(found),
        "coverage": as_json.coverage_json(hunted.coverage),
        "timing": {"seconds": spent},
    }
    print(f"{bug.id}: {bug.title}")
    print(bug.story)
    print()
    if found is None:
        c = hunted.coverage
        print(f"held: {c.configurations} configurations, {c.steps} steps, {spent:.1f} s")
        return False
    print(counterexample_text(found, keep(found), bug.variant))
    print(f"found from scratch in {hunted.steps} steps, {spent:.1f} s, seed {args.seed}")
    return True


def _in_releases(bug: ReleaseBug, fixed_only: bool, result: dict[str, Any]) -> bool:
    """Run the bug's trace on the release that has it and on the one that does not."""
    print(f"\n{bug.id} in SGLang: {bug.title} ({bug.properties})")
    wrong = None if fixed_only else _replay(bug, bug.shows)
    right = _replay(bug, bug.fixed)
    result["releases"] = {
        bug.fixed: as_json.verdict(right),
        **({} if fixed_only else {bug.shows: as_json.verdict(wrong)}),
        "trace": as_json.counterexample_json(wrong),
    }
    if wrong is not None:
        print(counterexample_text(wrong, None, f"sglang=={bug.shows}"))
    if not fixed_only and (wrong is None or not bug.wanted & set(wrong.slugs)):
        raise UsageError(f"the trace of {bug.id} does not show it on {bug.shows}")
    if right is None:
        print(f"\nthe same trace on sglang=={bug.fixed}: held")
    else:
        print(counterexample_text(right, None, f"sglang=={bug.fixed}"))
    return wrong is not None or right is not None


def _replay(bug: ReleaseBug, version: str) -> Counterexample | None:
    with start(f"sglang=={version}", PYTHON, bug.environment) as process:
        return replay_on(process, bug.trace(), bug.reach, past=bug.past)
