"""``radixproof bench``: what checking costs."""

from __future__ import annotations

import argparse
from typing import Any

from radixproof.benchmarks import alternatives, explore, harness, sglang
from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import add_json, natural, positive, writable
from radixproof.cli.releases import source_of
from radixproof.stateful_tests.explore.residency.promela import SpinError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="what checking costs, as ratios")
    parser.add_argument("benchmark", choices=("harness", "explore", "alternatives", "sglang"))
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="harness and sglang: 10, explore: 3, alternatives: 1500",
    )
    parser.add_argument(
        "--subject", default=sglang.SUBJECT, metavar="NAME", help="sglang: the release, or its tree"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = writable(args.json)
    if args.benchmark == "explore":
        try:
            result = explore.run(args.rounds or 3)
        except SpinError as problem:
            raise UsageError(str(problem)) from None
        except explore.CountsDiffer as problem:
            print(f"COUNTS DIFFER: {problem}")
            return COUNTEREXAMPLE
        told = explore_text(result)
    elif args.benchmark == "alternatives":
        result = alternatives.run(args.seed, args.rounds or 1500)
        told = alternatives.table(result)
    elif args.benchmark == "sglang":
        result = sglang.run(source_of(args.subject), args.seed, args.rounds or 10)
        told = sglang.told(result)
    else:
        result = harness.run(args.seed, args.rounds or 10)
        told = harness_text(result)
    as_json.write(target, result)
    print(told)
    return HELD


def harness_text(result: dict[str, Any]) -> str:
    """The ratio to bare Hypothesis, and where the time goes."""
    rates = result["timing"]
    lines = [
        f"checked {rates['checked_steps_per_second']:.0f} steps/s, bare Hypothesis"
        f" {rates['bare_steps_per_second']:.0f} steps/s: ratio {result['ratio']:.2f}"
    ]
    lines += [f"  {part:<12}{share:>6.1%}" for part, share in result["shares"].items()]
    return "\n".join(lines)


def explore_text(result: dict[str, Any]) -> str:
    """The rates of all programs, which found the same."""
    shared, rates = result["shared_scope"], result["timing"]["states_per_second"]
    edges = shared["edges of the full model"]
    lines = [
        f"{shared['states']} states on a scope of the full model ({edges} edges), counted alike"
        " through the abstraction, vectorised, plain and by SPIN",
        f"{result['states']} states, {result['transitions']} transitions of {result['bits']} bits"
        f" and {result['rules']} rules, found alike by vectorised, plain and SPIN",
    ]
    for name, ratio in result["ratio_to_spin"].items():
        lines.append(f"  {name:<28}{rates[name]:>10.0f} states/s{ratio:>10.4f} x SPIN")
    edges = result["timing"]["edges_per_second"]["full model and torch cache"]
    return "\n".join([*lines, f"  ({edges:.0f} edges/s of the full model, under every oracle)"])
