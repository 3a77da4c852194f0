"""Entry point: parse, dispatch, and turn every foreseeable failure into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from radixproof import __version__
from radixproof.cli import (
    bench,
    check,
    diff,
    explore,
    export,
    mutants,
    prove,
    recall,
    replay,
    reproduce,
    soak,
    spec,
    variants,
    workload,
)
from radixproof.cli.errors import WRONG_USE, UsageError
from radixproof.invariants.proofs.solvers import SolverMissing
from radixproof.model.errors import ConfigError, TraceError
from radixproof.stateful_tests.explore.errors import ExploreError
from radixproof.stateful_tests.mooncake import WorkloadError
from radixproof.stateful_tests.replay import IllegalTrace
from radixproof.stateful_tests.sglang.process import Unusable

_WRONG_USE = (
    *(UsageError, TraceError, ConfigError, IllegalTrace, WorkloadError),
    *(SolverMissing, ExploreError, Unusable),
)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(WRONG_USE)


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="radixproof",
        description="A correctness gate for hierarchical KV prefix caches.",
        epilog="exit status: 0 held, 1 counterexample, 2 wrong use or environment",
    )
    top.add_argument("--version", action="version", version=f"radixproof {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    told = (
        *(check, soak, prove, explore, diff, replay, reproduce, recall),
        *(export, spec, variants, mutants, workload, bench),
    )
    for command in told:
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    try:
        args = parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else WRONG_USE
    except _WRONG_USE as problem:
        print(f"radixproof: {problem}", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output has left, `radixproof spec | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("radixproof: interrupted", file=sys.stderr)
    except OSError as problem:
        print(f"radixproof: {problem}", file=sys.stderr)
    return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())
