"""``crosshair check`` on one contract, within a time limit, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from time import perf_counter

from radixproof.stateful_tests.contracts.contracts import CONTRACTS
from radixproof.stateful_tests.contracts.replay import Contract, Replayed, replay

CONFIRMED = "confirmed"
"""Over all paths: no arguments within the preconditions break it."""
REFUTED = "refuted"
"""By a counterexample that was replayed."""
UNKNOWN = "unknown"
"""Not all paths were searched in time, or the counterexample is false."""

SECONDS = 10.0
"""Per contract."""
GRACE = 60.0
"""Seconds beyond the limit after which a process that does not end is ended."""

_COUNTEREXAMPLE = re.compile(r": error: (.*?) when calling (.*?)(?: \(which returns .*\))?$")


class CrossHairError(RuntimeError):
    """CrossHair is missing or does not run; one line."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What CrossHair makes of one contract."""

    contract: str
    status: str
    seconds: float
    call: str = ""
    """The counterexample, true or false."""
    told: str = ""


def check_all(
    contracts: Sequence[Contract] = CONTRACTS, seconds: float = SECONDS
) -> Iterator[Checked]:
    """One verdict after the other. Raises ``CrossHairError``."""
    if find_spec("crosshair") is None:
        raise CrossHairError("CrossHair is not installed: pip install crosshair-tool")
    for contract in contracts:
        yield check(contract, seconds)


def check(contract: Contract, seconds: float = SECONDS) -> Checked:
    """Look for arguments that break a contract; what is found is replayed before it counts."""
    begin = perf_counter()
    try:
        done = subprocess.run(
            (
                *(sys.executable, "-m", "crosshair", "check", "--report_all"),
                "--analysis_kind=asserts",
                f"--per_condition_timeout={ceil(seconds)}",
                f"{contract.__module__}.{contract.__name__}",
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + GRACE,
        )
    except subprocess.TimeoutExpired:
        told = f"did not end within {seconds + GRACE:.0f} s"
        return Checked(contract.__name__, UNKNOWN, perf_counter() - begin, told=told)
    spent = perf_counter() - begin
    if done.returncode not in (0, 1):
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CrossHairError(f"crosshair check ended with {done.returncode}: {''.join(last)}")
    return judge(contract, done.stdout, spent)


def judge(contract: Contract, output: str, seconds: float) -> Checked:
    """The verdict that the output of ``crosshair check`` stands for."""
    name, lines = contract.__name__, output.strip().splitlines()
    for line in lines:
        found = _COUNTEREXAMPLE.search(line)
        if found:
            told, call = found[1].strip(), found[2]
            became = replay(contract, call)
            if became is Replayed.BROKEN:
                return Checked(name, REFUTED, seconds, call, told)
            return Checked(name, UNKNOWN, seconds, call, f"false counterexample: {became}")
    if any(": error: " in line for line in lines):
        return Checked(name, UNKNOWN, seconds, told=lines[0].split(": error: ")[-1])
    if len(lines) == 1 and lines[0].endswith("Confirmed over all paths."):
        return Checked(name, CONFIRMED, seconds)
    return Checked(name, UNKNOWN, seconds, told="not all paths were searched in time")
