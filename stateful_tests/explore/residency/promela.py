"""The relation as Promela, and its count by SPIN: an independent program for the same question."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from radixproof.stateful_tests.explore.residency.relation import Residency

TOOLS = ("spin", "gcc")
COMPILE = ("gcc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", "-DNOBOUNDCHECK")
"""Of ``pan``: no more than this search needs. Partial-order reduction finds nothing in it."""
RUN = ("-m10000000", "-w24")
"""Depth and hash table (2**24 entries) with room to spare."""


class SpinError(RuntimeError):
    """SPIN is missing, or does not do what it should; one line."""


@dataclass(frozen=True, slots=True)
class SpinCount:
    states: int
    transitions: int
    errors: int
    """Assertions that failed: reachable states that violate an invariant; the first ends it."""
    seconds: float
    """Of the search alone, without generating and compiling it."""


def require_spin() -> None:
    """Raises ``SpinError`` unless everything that is needed is installed."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise SpinError(
            f"{' and '.join(missing)} not found: install the packages {' and '.join(TOOLS)}"
            " (Debian: apt-get install spin gcc)"
        )


def promela(relation: Residency) -> str:
    """One process in one place that fires enabled rules for ever; a bit per variable.

    After a rule only the invariants are asserted that it could have broken.
    """
    names = {0: "armed"} | {
        number: f"{letter}_{'_'.join(map(str, prefix))}"
        for (letter, prefix), number in relation.bits.items()
    }

    def bits(mask: int) -> Iterable[str]:
        return (names[i] for i in range(mask.bit_length()) if mask >> i & 1)

    def condition(needs: int, lacks: int) -> str:
        return " && ".join([*bits(needs), *(f"!{name}" for name in bits(lacks))])

    lines = [f"bit {name};" for name in names.values()]
    lines.append("active proctype cache() {")
    lines.append("  do")
    for rule in relation.rules:
        broken = [p for p in relation.never if p.needs & rule.sets or p.lacks & rule.clears]
        never = [f"!({condition(p.needs, p.lacks)})" for p in broken]
        check = f"assert({' && '.join(never) or '1'})"
        changes = [f"{name} = 1" for name in bits(rule.sets & ~rule.clears)]
        changes += [f"{name} = 0" for name in bits(rule.clears)]
        guard = condition(rule.guard.needs, rule.guard.lacks)
        lines.append(
            f"  :: d_step {{ {guard} -> {'; '.join(changes)}; {check} }}  /* {rule.name} */"
        )
    return "\n".join([*lines, "  od", "}", ""])


def count(relation: Residency) -> SpinCount:
    """Generate, compile and run the search. Raises ``SpinError``."""
    require_spin()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "residency.pml").write_text(promela(relation), encoding="ascii")
        _tool(folder, "spin", "-a", "residency.pml")
        _tool(folder, *COMPILE, "-o", "pan", "pan.c")
        begin = perf_counter()
        told = _tool(folder, "./pan", *RUN)
        seconds = perf_counter() - begin
    errors = _number(r"errors: (\d+)", told)
    if not errors and ("Search not completed" in told or "max search depth too small" in told):
        raise SpinError("the search of SPIN was not completed")
    return SpinCount(
        states=_number(r"(\d+) states, stored", told),
        transitions=_number(r"(\d+) transitions", told),
        errors=errors,
        seconds=seconds,
    )


def _tool(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SpinError(f"{command[0]} ended with {done.returncode}: {''.join(last)}")
    return done.stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise SpinError(f"the output of pan has no line {pattern!r}")
    return int(found[1])
