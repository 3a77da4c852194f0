"""The contracts hold, CrossHair can refute, and it is believed only where the replay agrees."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radixproof.cli import crosshair
from radixproof.cli.main import main
from radixproof.stateful_tests.contracts import check as checking
from radixproof.stateful_tests.contracts import contracts as c
from radixproof.stateful_tests.contracts.check import (
    CONFIRMED,
    REFUTED,
    UNKNOWN,
    CrossHairError,
    check,
    check_all,
    judge,
)
from radixproof.stateful_tests.contracts.replay import (
    Contract,
    Replayed,
    arguments,
    parts,
    replay,
)
from radixproof.stateful_tests.tests import test_windows, wrong_contracts

numbers, windows = st.integers(0, 60), st.integers(1, 9)
pages = st.sampled_from(c.PAGE_SIZES)
lengths = st.lists(st.integers(1, 5), max_size=c.LONGEST).map(tuple)
keys = st.lists(st.integers(0, 2), max_size=c.LONGEST).map(tuple)
tags, tokens = st.integers(0, (1 << 48) - 1), st.integers(0, c.TOKENS - 1)
few_tags, few_tokens = st.sampled_from(c.FEW_TAGS), st.sampled_from(c.FEW_TOKENS)
aligned = st.tuples(st.integers(0, 9), st.integers(0, 9), pages)


def sliding(contract: Contract) -> Callable[..., None]:
    """Both frontiers are whole numbers of pages."""

    def on(frontiers: tuple[int, int, int], committed: int, window: int) -> None:
        evicted, protected, page_size = frontiers
        contract(evicted * page_size, protected * page_size, committed, window, page_size)

    return on


DRAWN: dict[Contract, dict[str, Any]] = {
    c.the_floor_is_the_largest_whole_number_of_pages: {"length": numbers, "page_size": pages},
    c.the_ceiling_is_the_smallest_whole_number_of_pages: {"length": numbers, "page_size": pages},
    c.keys_agree_up_to_their_common_prefix: {"a": keys, "b": keys, "page_size": pages},
    c.keys_differ_in_the_page_after_their_common_prefix: {"a": keys, "b": keys, "page_size": pages},
    c.a_capped_leaf_keeps_one_window_of_whole_pages: {
        "pages": windows,
        "window": windows,
        "page_size": pages,
    },
    c.a_duplicate_is_neither_protected_nor_consumed: {
        "start": numbers,
        "consumed": numbers,
        "protected": numbers,
        "token": numbers,
    },
    c.the_frontier_cuts_a_node_where_the_window_begins: {
        "start": numbers,
        "length": windows,
        "swa_evicted": numbers,
    },
    c.a_sliding_frontier_stays_behind_the_window: {
        "frontiers": aligned,
        "committed": numbers,
        "window": windows,
    },
    c.a_window_lock_counts_the_fewest_nodes_that_cover_it: {"lengths": lengths, "window": windows},
    c.without_a_gap_every_end_is_valid: {"lengths": lengths, "window": windows},
    c.after_a_gap_a_window_must_follow: {"above": windows, "below": lengths, "window": windows},
    c.a_chain_goes_on_where_it_was_left: {
        "previous": tags,
        "first": st.lists(tokens, max_size=2).map(tuple),
        "rest": st.lists(tokens, max_size=1).map(tuple),
    },
    c.a_tag_is_48_bits_and_marks_written_memory: {"previous": tags, "token": tokens},
    c.a_chain_of_few_tags_goes_on_where_it_was_left: {
        "previous": few_tags,
        "first": st.lists(few_tokens, max_size=2).map(tuple),
        "rest": st.lists(few_tokens, max_size=1).map(tuple),
    },
    c.a_tag_of_few_is_48_bits_and_marks_written_memory: {
        "previous": few_tags,
        "token": st.sampled_from(c.SOME_TOKENS),
    },
}
"""How arguments within the preconditions are drawn."""


def tried(contract: Contract, **how: Any) -> None:
    """The contract as a property test."""
    drawn = DRAWN[contract]
    function = sliding(contract) if "frontiers" in drawn else contract

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **how)
    @given(st.fixed_dictionaries(drawn))
    def test(arguments: dict[str, Any]) -> None:
        function(**arguments)

    test()


def by_name(contract: Contract) -> str:
    return contract.__name__


@pytest.mark.parametrize("contract", c.CONTRACTS, ids=by_name)
def test_what_is_promised_holds(contract: Contract) -> None:
    tried(contract, max_examples=200)


@pytest.mark.parametrize("contract", c.CONTRACTS, ids=by_name)
def test_what_is_promised_holds_with_symbolic_arguments(contract: Contract) -> None:
    pytest.importorskip("hypothesis_crosshair_provider")
    tried(contract, max_examples=5, backend="crosshair")


def test_every_contract_has_a_precondition_and_a_promise() -> None:
    """An assert at the beginning is what CrossHair knows a contract by; the rest is checked."""
    for contract in c.CONTRACTS:
        before, promised = parts(contract)
        assert before
        assert any(isinstance(n, ast.Assert) for s in promised for n in ast.walk(s)), contract


# CrossHair


@pytest.mark.parametrize(
    "contract",
    [
        c.the_floor_is_the_largest_whole_number_of_pages,
        c.a_tag_of_few_is_48_bits_and_marks_written_memory,
    ],
    ids=by_name,
)
def test_crosshair_confirms(contract: Contract) -> None:
    assert check(contract, 30).status == CONFIRMED


@pytest.mark.parametrize(
    "wrong",
    [
        wrong_contracts.the_ceiling_is_above,
        wrong_contracts.the_floor_is_defined_without_pages,
        wrong_contracts.a_window_lock_counts_one_node,
    ],
    ids=by_name,
)
def test_crosshair_refutes_what_is_wrong(wrong: Contract) -> None:
    found = check(wrong, 20)
    assert found.status == REFUTED
    assert replay(wrong, found.call) is Replayed.BROKEN


def test_a_false_counterexample_fails_nothing() -> None:
    """Whatever this version of CrossHair says of ``a[:0] == b[:0]``: it is true."""
    assert check(wrong_contracts.nothing_equals_nothing, 20).status in (UNKNOWN, CONFIRMED)
    told = "x.py:9: error: AssertionError:  when calling nothing_equals_nothing(v1:=(), v1)"
    found = judge(wrong_contracts.nothing_equals_nothing, told, 0)
    assert (found.status, found.told) == (UNKNOWN, "false counterexample: holds")


@pytest.mark.parametrize(
    ("call", "became"),
    [
        ("f(3, 2)", Replayed.BROKEN),
        ("f(page_size=2, length=4)", Replayed.BROKEN),
        ("f(-1, 2)", Replayed.OUTSIDE),
        ("f(3, 3)", Replayed.OUTSIDE),
        ("f(3)", Replayed.UNREADABLE),
        ("f(open('x'), 2)", Replayed.UNREADABLE),
        ("f(3, 2", Replayed.UNREADABLE),
        ("3", Replayed.UNREADABLE),
    ],
)
def test_a_replay_tells_promises_from_preconditions(call: str, became: Replayed) -> None:
    def floor_is_the_length(length: int, page_size: int) -> None:
        assert length >= 0
        assert page_size in (
            2,
            4,
        )
        assert length % page_size > 1, "no length leaves two"

    assert replay(floor_is_the_length, call) is became


def test_a_contract_that_holds_is_not_broken_by_a_replay() -> None:
    contract = c.the_floor_is_the_largest_whole_number_of_pages
    assert replay(contract, "f(7, 4)") is Replayed.HOLDS


def test_arguments_are_literals() -> None:
    assert arguments("f(v1:=(1, 2), b=[v1, -3])") == ([(1, 2)], {"b": [(1, 2), -3]})
    with pytest.raises(ValueError, match="malformed"):
        arguments("f(unknown)")


@pytest.mark.parametrize(
    ("output", "status"),
    [
        ("x.py:1: info: Confirmed over all paths.", CONFIRMED),
        ("x.py:1: info: Not confirmed.", UNKNOWN),
        ("", UNKNOWN),
        ("x.py:1: error: Unable to meet precondition", UNKNOWN),
        ("x.py:1: error: AssertionError: when calling f(4, 2)", UNKNOWN),
    ],
)
def test_nothing_but_a_replayed_counterexample_refutes(output: str, status: str) -> None:
    found = judge(c.the_floor_is_the_largest_whole_number_of_pages, output, 0)
    assert found.status == status


def test_the_command_reports_each_contract(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = (
        c.the_floor_is_the_largest_whole_number_of_pages,
        wrong_contracts.the_ceiling_is_above,
    )
    monkeypatch.setattr(crosshair, "check_all", lambda seconds: check_all(chosen, seconds))
    target = tmp_path / "x.json"
    assert main(["prove", "--crosshair", "--timeout", "20", "--json", str(target)]) == 1
    assert "1 confirmed, 1 refuted" in capsys.readouterr().out
    assert json.loads(target.read_text(encoding="utf-8"))["verdict"] == "counterexample"


def test_without_crosshair_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "find_spec", lambda name: None)
    assert main(["prove", "--crosshair"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(CrossHairError):
        next(check_all())


@pytest.mark.nightly
def test_the_property_tests_hold_with_symbolic_arguments() -> None:
    """The tests of the window functions as they are, drawn from by CrossHair."""
    pytest.importorskip("hypothesis_crosshair_provider")
    command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-profile=crosshair"]
    done = subprocess.run(
        [*command, test_windows.__file__],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    assert done.returncode == 0, done.stdout
