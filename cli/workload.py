"""``radixproof workload``: a production trace, side by side."""

from __future__ import annotations

import argparse
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from radixproof.cli import as_json
from radixproof.cli.errors import COUNTEREXAMPLE, HELD
from radixproof.cli.options import (
    CACHES,
    add_components,
    add_device,
    add_json,
    add_shapes,
    add_subject,
    limits_of,
    positive,
    subject_of,
    writable,
)
from radixproof.cli.progress import meter
from radixproof.cli.report import counterexample_text, keep
from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.mooncake import WorkloadError, read
from radixproof.stateful_tests.workload import WorkloadReport, run_workload


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("workload", help="run a production trace (Mooncake JSONL)")
    parser.add_argument("file", metavar="FILE", help="JSONL, plain or gzip")
    parser.add_argument("--requests", type=positive, default=1000, metavar="N", help="the first N")
    parser.add_argument("--block-tokens", type=positive, default=1, metavar="N")
    parser.add_argument("--device-slots", type=positive, default=1024, metavar="N")
    parser.add_argument("--host-slots", type=positive, default=8192, metavar="N")
    parser.add_argument("--states", type=positive, default=64, metavar="N", help="MAMBA slots")
    parser.add_argument("--host-states", type=positive, default=512, metavar="N")
    parser.add_argument("--window", type=positive, default=8, metavar="N", help="SWA window")
    parser.add_argument("--running", type=positive, default=4, metavar="N", help="at a time")
    parser.add_argument(
        "--sample", type=positive, default=100, metavar="N", help="steps between two full looks"
    )
    add_subject(parser, CACHES)
    add_device(parser)
    add_components(parser)
    add_shapes(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    open_subject, target, config = subject_of(args), writable(args.json), config_of(args)
    report = WorkloadReport()
    malformed: WorkloadError | None = None
    with meter("workload") as progress:
        try:
            run_workload(
                islice(read(Path(args.file), args.block_tokens), args.requests),
                open_subject,
                config,
                running=args.running,
                sample=args.sample,
                report=report,
                progress=lambda r: progress(r.requests / args.requests, Coverage(steps=r.steps)),
            )
        except WorkloadError as problem:
            malformed = problem
    as_json.write(target, _result(args, report))
    if malformed is None or report.requests:
        print(report_text(report))
    if malformed is not None:
        raise malformed
    if report.counterexample is not None:
        found = report.counterexample
        print(counterexample_text(found, keep(found), args.subject))
        return COUNTEREXAMPLE
    print("held")
    return HELD


def config_of(args: argparse.Namespace) -> CacheConfig:
    """Pools of the given sizes, rounded up to whole pages."""
    limits = limits_of(args)
    size = limits.page_size or 1
    device, host = (-(-n // size) * size for n in (args.device_slots, args.host_slots))
    components = limits.components or (FULL, SWA)
    return CacheConfig(
        components=components,
        page_size=size,
        sliding_window=args.window,
        full_slots=device,
        swa_slots=device if SWA in components else 0,
        host_full_slots=host,
        host_swa_slots=host if SWA in components else 0,
        mamba_slots=args.states if MAMBA in components else 0,
        host_mamba_slots=args.host_states if MAMBA in components else 0,
        write_policy=limits.write_policy or "write_through",
    )


def report_text(r: WorkloadReport) -> str:
    share = max(r.prompt_tokens, 1)
    return "\n".join(
        (
            f"requests {r.requests}: {r.finished} finished, {r.too_large} too large for the pool,"
            f" {r.out_of_memory} out of memory",
            f"hit rate: device {r.device_hit_tokens / share:.1%}, host"
            f" {r.host_hit_tokens / share:.1%} of {r.prompt_tokens} prompt tokens",
            f"load-backs {r.load_backs}, backups {r.backups}, evicted tokens: device"
            f" {r.device_evicted_tokens}, host {r.host_evicted_tokens}",
            f"{r.steps} steps in {r.seconds:.1f} s ({r.steps / max(r.seconds, 1e-9):.0f}/s);"
            f" outcomes compared every step; states, {r.evaluations} invariant evaluations and"
            f" all bytes in use at {r.looks} looks, at most {r.sample} steps apart",
        )
    )


def _result(args: argparse.Namespace, report: WorkloadReport) -> dict[str, Any]:
    found = report.counterexample
    told = {f.name: getattr(report, f.name) for f in fields(report)}
    counts = {k: v for k, v in told.items() if k not in ("counterexample", "seconds")}
    return {
        "command": "workload",
        "subject": args.subject,
        "verdict": as_json.verdict(found),
        "counterexample": as_json.counterexample_json(found),
        "report": counts,
        "timing": {"seconds": report.seconds, "steps_per_second": report.steps / report.seconds}
        if report.seconds
        else {},
    }
