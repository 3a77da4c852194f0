"""``radixproof prove --crosshair``: the contracts of the model's pure functions."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import writable
from radixproof.stateful_tests.contracts.check import (
    REFUTED,
    SECONDS,
    Checked,
    CrossHairError,
    check_all,
)


def run(args: argparse.Namespace) -> int:
    """A line per contract; 1 if a replayed counterexample breaks one.

    Raises ``UsageError`` beside options that speak of the relation.
    """
    if args.slug or args.variant or args.guards:
        raise UsageError("--crosshair goes with --timeout and --json only")
    target = writable(args.json)
    results = []
    try:
        for checked in check_all(seconds=args.timeout or SECONDS):
            results.append(checked)
            print(line(checked), flush=True)
    except CrossHairError as problem:
        raise UsageError(str(problem)) from None
    counts = Counter(r.status for r in results)
    print(f"{len(results)} contracts: " + ", ".join(f"{n} {s}" for s, n in counts.most_common()))
    as_json.write(target, _result(results))
    return COUNTEREXAMPLE if counts[REFUTED] else HELD


def line(checked: Checked) -> str:
    name = checked.contract.replace("_", " ")
    why = ": ".join(part for part in (checked.told, checked.call) if part)
    return f"{checked.status:<10}{name:<54}{checked.seconds:>6.1f} s  {why}".rstrip()


def _result(results: list[Checked]) -> dict[str, Any]:
    return {
        "command": "prove --crosshair",
        "verdict": "counterexample" if any(r.status == REFUTED for r in results) else "held",
        "contracts": [
            {"contract": r.contract, "status": r.status, "call": r.call, "told": r.told}
            for r in results
        ],
        "timing": {r.contract: r.seconds for r in results},
    }
