"""``radixproof diff``: the same traces on two releases or cores of SGLang."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import (
    add_json,
    add_limits,
    add_servers,
    natural,
    seconds,
    writable,
)
from radixproof.cli.releases import (
    add_release,
    environment_of,
    is_release,
    limits_on,
    reach_of,
    require_server,
    start,
)
from radixproof.cli.report import counterexample_text, keep
from radixproof.impl.sglang.wheels import RUST
from radixproof.stateful_tests.corpus import load
from radixproof.stateful_tests.sglang.diff import Pair, first_difference
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.verdict import Counterexample

TRACES = 200


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("diff", help="the same traces on two releases or cores")
    parser.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="NAME",
        help="twice: sglang==VERSION or sglang:PATH, with +rust for its Rust core",
    )
    parser.add_argument("--trace", metavar="FILE", help="this trace instead of random ones")
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    parser.add_argument("--time", type=seconds, metavar="S", help=f"instead of {TRACES} traces")
    add_limits(parser)
    add_json(parser)
    add_servers(add_release(parser))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    if len(args.subject) != 2 or not all(map(is_release, args.subject)):
        raise UsageError("diff takes --subject twice, each sglang==VERSION or sglang:PATH")
    with _process(args, 0) as left, _process(args, 1) as right:
        for process in (left, right):
            require_server(limits_on(args), process)
        begin = monotonic()
        pair = Pair(left, right)
        found, traces = _compare(args, pair, begin)
        names = left.source.name, right.source.name
    as_json.write(
        target,
        {
            "command": "diff",
            "subjects": list(names),
            "verdict": as_json.verdict(found),
            "traces": traces,
            "counterexample": as_json.counterexample_json(found),
            "timing": {"seconds": monotonic() - begin},
        },
    )
    if found is None:
        print(f"no difference: {names[0]} and {names[1]} on {traces} traces")
        return HELD
    print(counterexample_text(found, None, args.subject[0]))
    path = keep(found) if args.trace is None else None
    if path is not None:
        subjects = " ".join(f"--subject {shlex.quote(name)}" for name in args.subject)
        again = f"radixproof diff --trace {shlex.quote(str(path))} {subjects}"
        print(f"\nsaved: {path}\nagain: {again}")
    print(f"found after {traces} traces")
    return COUNTEREXAMPLE


def _compare(
    args: argparse.Namespace, pair: Pair, begin: float
) -> tuple[Counterexample | None, int]:
    if args.trace is not None:
        return pair.compare(load(Path(args.trace))), 1
    first = args.seed * 1_000_003
    count = TRACES if args.time is None else 1 << 30
    seeds = range(first, first + count)
    go_on = time_for_another(args.time, begin)
    return first_difference(pair, seeds, limits_on(args), reach_of(args), go_on)


def time_for_another(limit: float | None, begin: float) -> Callable[[int], bool]:
    """Whether there is time for one more trace; for the first one there always is, since a verdict
    on no trace says nothing."""
    return lambda done: done == 0 or limit is None or monotonic() - begin < limit


def _process(args: argparse.Namespace, which: int) -> ReleaseProcess:
    name: str = args.subject[which]
    core = RUST if name.endswith("+rust") else args.core
    return start(name.removesuffix("+rust"), core, environment_of(args))
