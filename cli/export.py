"""``radixproof export``: a counterexample on SGLang as a test to paste into SGLang's tree."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from radixproof.cli.errors import COUNTEREXAMPLE, HELD, UsageError
from radixproof.cli.options import writable
from radixproof.cli.releases import (
    add_release,
    environment_of,
    is_release,
    process_of,
    reach_of,
    source_of,
)
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model.operations import NAMES
from radixproof.model.trace import Trace
from radixproof.stateful_tests.bugs.open import OPEN
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS
from radixproof.stateful_tests.corpus import load
from radixproof.stateful_tests.export.calls import NotExportable
from radixproof.stateful_tests.export.run import FAILED, PASSED, run_on
from radixproof.stateful_tests.export.unittest_file import asserted, require_possible, unittest_file
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.reach import Reach
from radixproof.stateful_tests.verdict import Counterexample

FORMATS = ("sglang-unittest",)
_RAN = ("ok", "refused")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("export", help="a counterexample on SGLang as a test to paste")
    parser.add_argument(
        "trace",
        metavar="TRACE",
        nargs="?",
        help="a trace file, or the name of a recorded bug or an open defect",
    )
    parser.add_argument("--as", dest="format", choices=FORMATS)
    parser.add_argument(
        "--list", action="store_true", help="which invariants have an assertion (+), and which not"
    )
    parser.add_argument(
        "--subject", metavar="NAME", help="sglang==VERSION or sglang:PATH that has the bug"
    )
    parser.add_argument("--passes-on", metavar="NAME", help="a subject on which the test must pass")
    parser.add_argument("--out", metavar="FILE", help="where it goes; otherwise to the terminal")
    add_release(parser)
    parser.set_defaults(run=run, device="cpu")


def run(args: argparse.Namespace) -> int:
    if args.list:
        ours = asserted()
        print("\n".join(f"{'+' if slug in ours else '-'} {slug}" for slug in CATALOGUE))
        return HELD
    if args.trace is None or args.format is None:
        raise UsageError(f"export takes a TRACE and --as {FORMATS[0]}")
    target, (trace, known) = writable(args.out), _trace_of(args.trace)
    if args.subject is None and known is not None:
        args.subject = f"sglang=={known.release}"
    if args.subject is None or not is_release(args.subject):
        raise UsageError("--subject sglang==VERSION or sglang:PATH says where the bug is")
    reach, environment = reach_of(args), environment_of(args)
    if known is not None:
        reach = known.reach if reach == Reach() else reach
        environment = {**known.environment, **environment}
        args.set = [f"{k}={v}" for k, v in environment.items()]
    fixed = None if args.passes_on is None else source_of(args.passes_on)
    try:
        require_possible(trace.config)
        found = _counterexample(args, trace, reach)
        text = unittest_file(found, args.subject, environment)
    except NotExportable as problem:
        raise UsageError(f"{args.trace} cannot be exported: {problem}") from None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "test_exported.py"
        file.write_text(text, encoding="utf-8")
        shown = run_on(source_of(args.subject), file)
        if shown.status != FAILED:
            raise UsageError(f"the test of {args.trace} does not fail there: {_last(shown.told)}")
        again = None if fixed is None else run_on(fixed, file)
    if again is not None and again.status not in (PASSED, FAILED):
        raise UsageError(f"the test does not run on {args.passes_on}: {_last(again.told)}")
    if target is None:
        print(text, end="")
    else:
        target.write_text(text, encoding="utf-8")
    _tell(f"it fails on {args.subject}, as it should: {', '.join(found.slugs)}")
    if again is None:
        return HELD
    if again.status == PASSED:
        _tell(f"it passes on {args.passes_on}")
        return HELD
    _tell(f"it fails on {args.passes_on} too: {_last(again.told)}")
    return COUNTEREXAMPLE


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a trace: a release that shows its defect, and how it is reached there."""

    trace: Trace
    release: str
    reach: Reach
    environment: Mapping[str, str]


def _known() -> dict[str, Known]:
    """Recorded bugs and open defects, by name."""
    bugs = {b.id: Known(b.trace(), b.shows, b.reach, b.environment) for b in RELEASE_BUGS.values()}
    open_ = {d.id: Known(d.trace(), d.latest, d.reach, d.environment) for d in OPEN.values()}
    return bugs | open_


def _trace_of(name: str) -> tuple[Trace, Known | None]:
    """A file, or what is known by a number or a name; a known trace is known by what it says."""
    known = _known()
    if name in known:
        return known[name].trace, known[name]
    trace = load(Path(name))
    said = (trace.config, trace.operations)
    same = (k for k in known.values() if (k.trace.config, k.trace.operations) == said)
    return trace, next(same, None)


def _counterexample(args: argparse.Namespace, trace: Trace, reach: Reach) -> Counterexample:
    """What the trace shows on the subject. Raises ``UsageError`` if that is nothing."""
    coverage = Coverage()
    with process_of(args) as process:
        found = replay_on(process, trace, reach, coverage)
    if found is None:
        raise UsageError(f"{args.trace} holds on {args.subject}: there is nothing to assert")
    if found.operation is not None and found.outcome is not None:
        coverage.outcomes[NAMES[type(found.operation)], found.outcome.kind] -= 1  # it may be wrong
    if any(n and kind not in _RAN for (_, kind), n in coverage.outcomes.items()):
        raise UsageError(f"{args.trace} has operations that are illegal there: shrink it first")
    return found


def _last(told: str) -> str:
    """The line of a unittest report that says what went wrong."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0]]
    return (errors or lines or ["it said nothing"])[-1]


def _tell(line: str) -> None:
    """Beside the test, which may go to standard output."""
    print(line, file=sys.stderr)
