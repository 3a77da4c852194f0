"""``radixproof soak``: so many checked steps over all component sets and policies, resumable."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from time import monotonic

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import (
    CACHES,
    add_device,
    add_subject,
    natural,
    positive,
    subject_of,
    writable,
)
from radixproof.cli.progress import meter
from radixproof.cli.report import counterexample_text, keep, outcomes_table
from radixproof.invariants.catalogue import number_judged
from radixproof.stateful_tests.soak import CELLS, SoakRecord, soak


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("soak", help="many steps over all component sets and policies")
    parser.add_argument("--steps", type=positive, default=2_000_000, metavar="N")
    parser.add_argument("--seed", type=natural, metavar="N", help="drawn where none is given")
    parser.add_argument(
        "--record", metavar="FILE", help="written after each round; gone on from when it exists"
    )
    add_subject(parser, CACHES)
    add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    open_subject, target = subject_of(args), writable(args.record)
    record = _record(target, args.subject, args.seed)
    before, begin = record.seconds, monotonic()
    with meter(f"soak {args.subject}") as progress:

        def after_round(done: SoakRecord) -> None:
            done.seconds = before + monotonic() - begin
            _write(target, done)
            rate = done.coverage.steps / max(done.seconds, 1e-6)
            share = min(1.0, done.coverage.steps / args.steps)
            progress.show(share, f"{done.coverage.steps} steps, {rate:.0f}/s")

        try:
            found = soak(open_subject, record, args.steps, after_round)
        except KeyboardInterrupt:
            print(soak_text(record, "held so far"))
            raise UsageError("interrupted; what was checked until then held") from None
    if found is not None:
        print(counterexample_text(found, keep(found), args.subject))
        print(f"found in round {record.rounds} of the soak with seed {record.seed}")
        return COUNTEREXAMPLE
    print(soak_text(record, "held"))
    return HELD


def soak_text(r: SoakRecord, verdict: str) -> str:
    """What was covered, in all and per cell."""
    c = r.coverage
    lines = [
        f"{verdict}: {c.steps} checked steps, {c.configurations} configurations,"
        f" {number_judged()} invariants, {c.evaluations} invariant evaluations",
        f"seed {r.seed}, {r.rounds} rounds over {len(CELLS)} component sets and policies,"
        f" {r.seconds:.0f} s, {c.steps / max(r.seconds, 1e-9):.0f} checked steps/s",
        "",
        *(f"{cell:<40}{steps:>10}" for cell, steps in r.steps_of.items()),
        "",
        *outcomes_table(c.outcomes),
    ]
    return "\n".join(lines)


def _record(target: Path | None, subject: str, seed: int | None) -> SoakRecord:
    """The record to go on from, or a new one. Raises ``UsageError`` where the two do not agree."""
    if target is None or not target.exists():
        drawn = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        return SoakRecord(subject, drawn)
    try:
        record = SoakRecord.from_json(json.loads(target.read_text(encoding="utf-8")))
    except ValueError:
        raise UsageError(f"{target} is no record of a soak") from None
    if record.subject != subject or seed not in (None, record.seed):
        raise UsageError(f"{target} is of subject {record.subject}, seed {record.seed}")
    return record


def _write(target: Path | None, record: SoakRecord) -> None:
    """All or nothing: a soak that is killed while it writes loses one round at most."""
    if target is not None:
        draft = target.with_name(target.name + ".draft")
        as_json.write(draft, record.to_json())
        draft.replace(target)
