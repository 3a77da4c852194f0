"""Mutants: what is changed, that marks change nothing, and that a mutant of a release is caught."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from radixproof.cli.main import main
from radixproof.impl.sglang.wheels import locate
from radixproof.model.config import FULL
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.mutation import planting
from radixproof.stateful_tests.mutation.campaign import ANYTHING, judged
from radixproof.stateful_tests.mutation.sites import (
    FORGET_ASSIGNMENT,
    FORGET_CALL,
    FORGET_OPERAND,
    OFF_BY_ONE,
    sites,
)
from radixproof.stateful_tests.sglang.judge import Plan

MODULE = "sglang/srt/mem_cache/unified_radix_cache.py"
TEXT = '''
def freed(slots, count, log):
    """Ümlaut: columns count bytes."""
    class Box: total = 0
    taken = []
    for slot in slots:
        if slot >= 0 and len(taken) < count and not slot % 2: taken.append(slot)
    Box.total += len(taken)
    assert Box.total <= count, f"{count < 3}"
    log(f"{count > 1}")
    return taken, Box.total

def sanity_check(x):
    x.append(1)
'''


def wrong_texts() -> list[tuple[str, str]]:
    return [(s.kind, s.changed(TEXT)) for s in sites(TEXT)]


def run(text: str, *more: Any) -> tuple[Any, ...]:
    names: dict[str, Any] = {"_radixproof_reached": lambda *site: more[0].add(site)} if more else {}
    exec(compile(text, "mutated", "exec"), names)
    result: tuple[Any, ...] = names["freed"]([2, 3, 4, 0, 6], 3, lambda _: None)
    return result


def outcome(text: str) -> tuple[Any, ...]:
    try:
        return run(text)
    except AssertionError:
        return ("assert",)


def test_every_kind_of_slip_is_made_and_nothing_that_only_looks_is_touched() -> None:
    kinds = [kind for kind, _ in wrong_texts()]
    assert kinds.count(FORGET_OPERAND) == 3
    assert kinds.count(OFF_BY_ONE) == 2
    assert kinds.count(FORGET_CALL) == 2
    assert kinds.count(FORGET_ASSIGNMENT) == 1
    assert all(s.function != "sanity_check" for s in sites(TEXT))


def test_a_mutant_is_a_module_that_does_something_else() -> None:
    for _, text in wrong_texts():
        ast.parse(text)
    changed = [text for _, text in wrong_texts() if outcome(text) != outcome(TEXT)]
    assert len(changed) == len(wrong_texts()) - 2  # no slot is negative; the log is not looked at


def test_marks_change_nothing_and_note_every_place_that_ran() -> None:
    ran: set[tuple[str, int, int]] = set()
    places = sites(TEXT)
    assert run(planting._with_marks("m", TEXT, places), ran) == run(TEXT)
    assert ran == {("m", s.begin, s.end) for s in places}


def test_a_release_that_keeps_the_lock_of_who_finished_is_caught() -> None:
    source = locate("sglang==0.5.13")
    text = (source.root / MODULE).read_text(encoding="utf-8")
    unlocks = [
        s
        for s in sites(text)
        if s.function == "cache_finished_req" and text.startswith("self.dec_lock_ref(", s.begin)
    ]
    verdict = judged(
        source, Plan(40, limits=Limits((FULL,)), wanted=ANYTHING), 1, MODULE, unlocks[0]
    )
    assert verdict.caught_by == ("nothing-is-held-when-idle",)
    assert "is locked by nobody" in verdict.told


@pytest.mark.nightly
def test_a_campaign_is_the_same_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["mutants", "--subject", "sglang==0.5.23", "--components", "full"]
    argv += ["--count", "4", "--walks", "20"]
    told = []
    for _ in range(2):
        assert main(argv) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert "of 4 mutants caught" in told[0]


def test_what_a_release_shows_of_its_own_tells_no_mutant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["mutants", "--subject", "sglang==0.5.12.post1", "--walks", "5", "--count", "1"]
    assert main([*argv, "--policy", "write_through", "--components", "full,swa"]) == 0
    told = capsys.readouterr().out
    assert "of its own it shows a-fresh-leaf-covers-one-window" in told
    assert "a-fresh-leaf-covers-one-window (" not in told
