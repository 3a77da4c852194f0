"""What the commands share that judge SGLang: which release, with what, and how it is told."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from radixproof.cli.errors import UsageError
from radixproof.cli.options import Options, limits_of, positive
from radixproof.cli.report import counterexample_text, keep, links_text
from radixproof.impl.sglang.pools import not_of_a_decode_server
from radixproof.impl.sglang.wheels import (
    CORES,
    PYTHON,
    RUST,
    NoSuchRelease,
    Source,
    locate,
    require_packages,
)
from radixproof.invariants.catalogue import number_judged
from radixproof.model.config import FULL, MAMBA, MOST_RANKS
from radixproof.model.operations import NAMES
from radixproof.model.options import COPIES_LATER_STATES, COPIES_LATER_WINDOWS
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.sglang.judge import Judgement
from radixproof.stateful_tests.sglang.process import ReleaseProcess, Unusable
from radixproof.stateful_tests.sglang.reach import Reach
from radixproof.stateful_tests.verdict import Counterexample, grouped

PROMISES = (COPIES_LATER_STATES, COPIES_LATER_WINDOWS)
"""Options that no rule but their own reads, so that an older release can be judged by them."""


def add_release(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options that go with ``--subject sglang...``; the group of those that default servers use."""
    servers = parser.add_argument_group("with --subject sglang==VERSION or sglang:PATH")
    servers.add_argument("--core", default=PYTHON, choices=CORES, help="tree core of the release")
    servers.add_argument(
        "--storage",
        action="store_true",
        help="with a storage tier (L3): check and diff draw one, replay wants a trace with one",
    )
    servers.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment of the release: its opt-in flags (docs/sglang.md lists them)",
    )
    group = parser.add_argument_group("with a release, uses that no default server makes")
    group.add_argument(
        "--host-locks", action="store_true", help="hold host locks, as a storage tier does"
    )
    group.add_argument("--quotas", action="store_true", help="load back with quotas")
    group.add_argument(
        "--early-release", action="store_true", help="give back window locks after the window"
    )
    group.add_argument(
        "--promised",
        action="append",
        default=[],
        choices=PROMISES,
        metavar="OPTION",
        help=f"judge a release that does not follow it by a later rule: {', '.join(PROMISES)}",
    )
    return servers


def add_ranks(options: Options) -> None:
    """For the commands that run several ranks of a release."""
    options.add_argument(
        "--ranks",
        type=several,
        metavar="N",
        help="so many tensor-parallel ranks, whose copies run at different times",
    )
    options.add_argument(
        "--pipeline", action="store_true", help="with --ranks: they are stages of a pipeline"
    )


def several(text: str) -> int:
    """A number of ranks, from 2 on."""
    value = positive(text)
    if not 2 <= value <= MOST_RANKS:
        raise argparse.ArgumentTypeError(f"must be from 2 to {MOST_RANKS}, not {value}")
    return value


def is_release(subject: str) -> bool:
    return subject.startswith("sglang")


def reach_of(args: argparse.Namespace) -> Reach:
    return Reach(args.host_locks, args.quotas, args.early_release, tuple(args.promised))


def environment_of(args: argparse.Namespace) -> dict[str, str]:
    """The flags of ``--set``. Raises ``UsageError``."""
    for setting in args.set:
        if "=" not in setting:
            raise UsageError(f"--set takes NAME=VALUE, not {setting!r}")
    return dict(setting.split("=", 1) for setting in args.set)


def process_of(args: argparse.Namespace) -> ReleaseProcess:
    """A process that holds the release to be judged. Raises ``UsageError``."""
    if args.device != "cpu":
        raise UsageError("--device cuda goes with --subject torch only")
    special = getattr(args, "budget", False) or getattr(args, "decode_server", False)
    if special and getattr(args, "relation", False):
        raise UsageError("--budget and --decode-server go without --relation, which has neither")
    if getattr(args, "pipeline", False) and not args.ranks:
        raise UsageError("--pipeline goes with --ranks")
    if getattr(args, "ranks", None):
        others = {"--core rust": args.core == RUST, "--relation": args.relation}
        others["--sessions"] = getattr(args, "sessions", False)
        others["--storage"] = getattr(args, "storage", False)
        others["--decode-server"] = getattr(args, "decode_server", False)
        for flag in (name for name, given in others.items() if given):
            raise UsageError(f"--ranks goes without {flag}")
    if getattr(args, "relation", False) and getattr(args, "sessions", False):
        raise UsageError("--sessions goes without --relation: what is proved has no sessions")
    if args.core == RUST and (args.host_locks or args.relation):
        flag = "--host-locks" if args.host_locks else "--relation"
        raise UsageError(f"{flag} goes with --core python: a Rust core does not show its locks")
    return start(args.subject, args.core, environment_of(args))


def limits_on(args: argparse.Namespace) -> Limits:
    """The limits of a run on a release, with its storage tier if that is asked for."""
    limits = limits_of(args)
    if not args.storage:
        return limits
    if MAMBA in (limits.components or ()):
        raise UsageError("--storage goes without mamba")
    of_another = limits.sessions or limits.budget or limits.decode_server
    if of_another or getattr(args, "ranks", None):
        raise UsageError("--storage goes without --sessions, --budget, --decode-server and --ranks")
    return replace(limits, storage=True, host=True)


def require_server(limits: Limits, process: ReleaseProcess) -> None:
    """Raises ``UsageError`` where a server is asked for that the release does not have."""
    name, keeps = process.source.name, process.about["decode_server"]
    if limits.storage and not process.about["storage"]:
        raise UsageError(f"{name}: the unified cache of this release has no storage tier")
    if limits.decode_server and not set(limits.components or keeps[:1] or [FULL]) <= set(keeps):
        raise UsageError(f"{name}: {not_of_a_decode_server(keeps)}")


def start(subject: str, core: str, environment: Mapping[str, str]) -> ReleaseProcess:
    """Fetch a release if need be and bring it up. Raises ``UsageError``."""
    try:
        return ReleaseProcess(source_of(subject, core), environment)
    except Unusable as problem:
        raise UsageError(str(problem)) from None


def source_of(subject: str, core: str = PYTHON) -> Source:
    """Where a release is, fetched if need be. Raises ``UsageError``."""
    try:
        require_packages()
        return locate(subject, core)
    except NoSuchRelease as problem:
        raise UsageError(str(problem)) from None


def flags_of(args: argparse.Namespace) -> str:
    """The options that a replay on the same release needs again."""
    flags = [] if args.core == PYTHON else [f"--core {args.core}"]
    for name in ("host_locks", "quotas", "early_release"):
        flags += [f"--{name.replace('_', '-')}"] if getattr(args, name) else []
    flags += [f"--promised {option}" for option in args.promised]
    flags += [f"--set {shlex.quote(setting)}" for setting in args.set]
    return "".join(f" {flag}" for flag in flags)


def _seen_again(others: Sequence[Counterexample]) -> list[str]:
    """Other sights of what was told in full, a line for each that looks different; the shortest
    trace of it is kept, too."""
    alike: dict[tuple[str, ...], list[Counterexample]] = {}
    for found in others:
        name = NAMES[type(found.operation)] if found.operation is not None else "nothing"
        alike.setdefault((name, *found.slugs), []).append(found)
    lines = []
    for (name, *slugs), sights in alike.items():
        shortest = min(sights, key=lambda f: len(f.trace.operations))
        times = f", {len(sights)} times" if len(sights) > 1 else ""
        lines.append(f"also after {name}{times}: {', '.join(slugs)} (saved: {keep(shortest)})")
    return lines


def judgement_text(run: Judgement, subject: str, spent: float, flags: str = "") -> str:
    """The verdict, every kind of counterexample, and what all of it rests on."""
    blocks = []
    groups = grouped([f.counterexample for f in run.found])
    for number, (first, *others) in enumerate(groups, start=1):
        found = run.found[first]
        shown = found.counterexample
        blocks.append(counterexample_text(shown, keep(shown), subject, flags))
        blocks += _seen_again([run.found[other].counterexample for other in others])
        blocks.append(
            f"{number} of {len(groups)}: found after {found.walks} walks, {found.steps} steps,"
            f" {found.seconds:.1f} s (walk seed {found.seed})\n"
        )
    c = run.coverage
    verdict = "held so far" if run.stopped else "held"
    if run.found:
        kinds = "1 kind" if len(groups) == 1 else f"{len(groups)} kinds"
        walks = "1 walk" if run.failing_walks == 1 else f"{run.failing_walks} walks"
        verdict = f"{kinds} of counterexample in {walks}"
    judged = number_judged(run.ranks)
    whole = judged - len(run.not_checked) - len(run.in_part)
    partly = f" and {len(run.in_part)} in part" if run.in_part else ""
    blocks.append(
        f"{verdict}: {run.walks} walks, {c.steps} steps, {whole} of {judged} invariants"
        f"{partly}, {c.evaluations} invariant evaluations"
    )
    blocks.append(
        f"seed {run.seed}, {spent:.1f} s, {c.steps / max(spent, 1e-9):.0f} checked steps/s"
    )
    blocks += links_text(c)
    if run.not_checked:
        blocks.append("not checked on this release:")
        blocks += [f"    {slug}: {why}" for slug, why in sorted(run.not_checked.items())]
    if run.in_part:
        blocks.append("checked in part:")
        blocks += [f"    {slug}: {why}" for slug, why in sorted(run.in_part.items())]
    if run.never:
        blocks.append(f"never performed: {', '.join(run.never)}")
    if run.stopped:
        blocks.append(f"stopped before the end: {run.stopped}")
    if run.stub_calls:
        blocks.append(f"stubs that were called: {', '.join(sorted(set(run.stub_calls)))}")
    return "\n".join(blocks)
