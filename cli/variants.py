"""``radixproof variants``: known-wrong caches, and what catches them."""

from __future__ import annotations

import argparse
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD
from radixproof.cli.options import add_json, positive, variants_named, writable
from radixproof.model.trace import dumps
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.variants_table import SEEDS, Row, measure


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("variants", help="known-wrong caches, and what catches them")
    parser.add_argument("ids", nargs="*", metavar="M-n", help="only these")
    parser.add_argument("--seeds", type=positive, default=len(SEEDS), metavar="N")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target, ids = writable(args.json), variants_named(args.ids)
    print(f"{'variant':<8}{'steps':>8}{'seconds':>9}{'shrunk':>8}  caught by")
    rows = []
    for id in ids:
        row = measure(VARIANTS[id], range(args.seeds))
        rows.append(row)
        print(row_text(row), flush=True)
        as_json.write(target, _result(args, rows))
    missed = [r.variant.id for r in rows if not r.caught]
    if missed:
        print(f"NOT CAUGHT as it should be: {', '.join(missed)}")
        return COUNTEREXAMPLE
    print(f"all {len(rows)} variants caught (medians of {args.seeds} seeds)")
    return HELD


def row_text(row: Row) -> str:
    steps = "-" if row.steps is None else f"{row.steps:g}"
    length = "-" if row.shrunk is None else str(len(row.shrunk.trace.operations))
    caught = ", ".join(row.slugs) if row.caught else f"NOT CAUGHT (saw {_seen(row)})"
    return f"{row.variant.id:<8}{steps:>8}{row.seconds:>9.1f}{length:>8}  {caught}"


def _seen(row: Row) -> str:
    return ", ".join(sorted({s for d in row.detections for s in d.slugs})) or "nothing"


def _result(args: argparse.Namespace, rows: list[Row]) -> dict[str, Any]:
    return {
        "command": "variants",
        "seeds": args.seeds,
        "verdict": "held" if all(r.caught for r in rows) else "counterexample",
        "variants": [
            {
                "id": r.variant.id,
                "title": r.variant.title,
                "caught": r.caught,
                "caught_by": list(r.slugs),
                "steps_to_detection": [d.steps for d in r.detections],
                "shrunk_operations": len(r.shrunk.trace.operations) if r.shrunk else None,
                "shrunk_trace": dumps(r.shrunk.trace) if r.shrunk else None,
            }
            for r in rows
        ],
        "timing": {r.variant.id: [d.seconds for d in r.detections] for r in rows},
    }
