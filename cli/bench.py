"""``radixproof bench``: what checking costs."""

from __future__ import annotations

import argparse

from radixproof.benchmarks import harness
from radixproof.cli import as_json
from radixproof.cli.errors import HELD
from radixproof.cli.options import add_json, natural, positive, writable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="what checking costs, as ratios")
    parser.add_argument("benchmark", choices=("harness",))
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    parser.add_argument("--rounds", type=positive, default=10, metavar="N")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    result = harness.run(args.seed, args.rounds)
    as_json.write(target, result)
    rates = result["timing"]
    print(
        f"checked {rates['checked_steps_per_second']:.0f} steps/s, bare Hypothesis"
        f" {rates['bare_steps_per_second']:.0f} steps/s: ratio {result['ratio']:.2f}"
    )
    for part, share in result["shares"].items():
        print(f"  {part:<12}{share:>6.1%}")
    return HELD
