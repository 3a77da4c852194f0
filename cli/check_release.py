"""``radixproof check --subject sglang...``: judge a release or a checkout."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import writable
from radixproof.cli.progress import meter
from radixproof.cli.releases import (
    flags_of,
    judgement_text,
    limits_on,
    process_of,
    reach_of,
    require_server,
)
from radixproof.model.config import MAMBA
from radixproof.model.options import NO_SESSIONS, TELLS_NO_EVENTS
from radixproof.stateful_tests.profiles import PROFILES
from radixproof.stateful_tests.sglang.judge import Judgement, Plan, judge
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.verdict import grouped


def run(args: argparse.Namespace) -> int:
    target, profile = writable(args.json), PROFILES[args.profile]
    limits = replace(limits_on(args), ranks=args.ranks, pipeline=args.pipeline)
    if args.ranks and MAMBA in (limits.components or ()):
        raise UsageError("--ranks goes without mamba so far")
    plan = Plan(
        profile.rounds * profile.walks, args.time, limits, reach_of(args), relation=args.relation
    )
    with process_of(args) as process:
        require_server(limits, process)
        if limits.kv_events and TELLS_NO_EVENTS in process.about["options"]:
            raise UsageError(f"{args.subject}: the cache of this release tells no KV events")
        if limits.sessions and NO_SESSIONS in process.about["options"]:
            raise UsageError(f"{args.subject}: the unified cache has no streaming sessions")
        return _judged(args, process, plan, target)


def _judged(
    args: argparse.Namespace, process: ReleaseProcess, plan: Plan, target: Path | None
) -> int:
    with meter(f"check {process.source.name}") as progress:
        begin = monotonic()
        judged = judge(process, plan, args.seed, progress)
        spent = monotonic() - begin
    as_json.write(target, _result(args, judged, spent))
    print(judgement_text(judged, args.subject, spent, flags_of(args)))
    if judged.found:
        return COUNTEREXAMPLE
    if judged.stopped:
        raise UsageError(f"{judged.stopped}; what was checked until then held")
    return HELD


def _result(args: argparse.Namespace, judged: Judgement, spent: float) -> dict[str, Any]:
    groups = grouped([f.counterexample for f in judged.found])
    return {
        "command": "check",
        "subject": args.subject,
        "core": args.core,
        "profile": args.profile,
        "seed": judged.seed,
        "walks": judged.walks,
        "failing_walks": judged.failing_walks,
        "verdict": "counterexample" if judged.found else "stopped" if judged.stopped else "held",
        "stopped": judged.stopped,
        "counterexamples": [
            {
                "walk_seed": f.seed,
                "walks": f.walks,
                "steps": f.steps,
                "group": next(g for g, places in enumerate(groups, start=1) if place in places),
                **(as_json.counterexample_json(f.counterexample) or {}),
            }
            for place, f in enumerate(judged.found)
        ],
        "coverage": as_json.coverage_json(judged.coverage),
        "never_performed": judged.never,
        "not_checked": dict(judged.not_checked),
        "checked_in_part": dict(judged.in_part),
        "stub_calls": sorted(set(judged.stub_calls)),
        "timing": {
            "seconds": spent,
            "steps_per_second": judged.coverage.steps / max(spent, 1e-9),
            "found_after": [f.seconds for f in judged.found],
        },
    }
