"""The command: exit status, one-line errors, deterministic JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from radixproof.cli.diff import time_for_another
from radixproof.cli.main import main, parser
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests import gate
from radixproof.stateful_tests.sglang.diff import Pair, first_difference


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_trace(*operations: op.Operation) -> str:
    path = Path("trace.json")
    path.write_text(dumps(Trace(CacheConfig(), operations)), encoding="utf-8")
    return str(path)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["steal"],
        ["check", "--profile", "huge"],
        ["check", "--seed", "x"],
        ["check", "--seed", "-1"],
        ["check", "--time", "0"],
        ["check", "--time", "nan"],
        ["check", "--page-size", "0"],
        ["check", "--ranks", "1"],
        ["check", "--ranks", "2"],
        ["check", "--pipeline"],
        ["check", "--components", "mamba"],
        ["check", "--subject", "redis"],
        ["check", "--subject", "sglang==9.9.9"],
        ["check", "--subject", "model", "--device", "cuda"],
        ["check", "--json", "no/such/folder/x.json"],
        ["replay"],
        ["replay", "absent.json"],
        ["replay", "."],
        ["reproduce", "1"],
        ["spec", "no-such-thing"],
        ["spec", "I-42"],
        ["variants", "M-99"],
        ["workload", "absent.jsonl"],
        ["workload", "."],
        ["bench", "everything"],
        ["explore", "--scope", "huge"],
        ["prove", "--crosshair", "--variant", "M-1"],
        ["explore", "--bounds", "depth=3"],
        ["explore", "--bounds", "alphabet=0"],
        ["explore", "--bounds", "device=0"],
        ["explore", "--jobs", "0"],
        ["explore", "--memory", "500"],
        ["explore", "--subject", "redis"],
        ["explore", "--resume", "/proc/version"],
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert one_line(err), err
    assert out == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', "\x00\xff"])
def test_a_broken_trace_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.json").write_bytes(text.encode("latin-1"))
    assert main(["replay", "broken.json"]) == 2
    err = capsys.readouterr().err
    assert one_line(err)
    assert "broken.json" in err


def test_replay_holds_or_shows(capsys: pytest.CaptureFixture[str]) -> None:
    trace = write_trace(op.Insert((1, 2, 3), swa_evicted=1))
    assert main(["replay", trace]) == 0
    assert "held: 1 steps" in capsys.readouterr().out
    assert main(["replay", trace, "--subject", "M-1", "--json", "r.json"]) == 1
    out = capsys.readouterr().out
    assert "hits-at-the-threshold-are-backed-up (I-38)" in out
    assert "<-- here" in out
    result = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert result["verdict"] == "counterexample"
    assert result["counterexample"]["step"] == 1


def test_an_illegal_order_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    trace = write_trace(op.Match((1,)), op.Finish("r"))
    assert main(["replay", trace]) == 2
    err = capsys.readouterr().err
    assert one_line(err)
    assert "operation 2 (finish) is illegal here: E_PROTO" in err
    assert main(["replay", trace, "--allow-illegal"]) == 0


def test_reproduce_finds_the_seed_bug_and_its_fix_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["reproduce", "25065", "--json", "a.json"]) == 1
    out = capsys.readouterr().out
    assert "hits-at-the-threshold-are-backed-up" in out
    result = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert len(result["counterexample"]["trace"]["operations"]) <= 5
    assert main(["reproduce", "25065", "--fixed"]) == 0
    (saved,) = Path(".radixproof").glob("*.json")
    assert main(["replay", str(saved), "--subject", "M-1"]) == 1
    assert main(["replay", str(saved)]) == 0


def test_check_reports_what_it_covered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--time", "1", "--seed", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("held: ")
    for word in ("configurations", "steps", "invariant evaluations", "insert", "seed 4"):
        assert word in out
    assert main(["check", "--subject", "M-8", "--seed", "4"]) == 1
    out = capsys.readouterr().out
    assert "COUNTEREXAMPLE" in out
    assert "radixproof replay" in out


@pytest.mark.parametrize(
    "argv",
    [
        ["reproduce", "25065", "--seed", "3"],
        ["reproduce", "25065", "--fixed"],
        ["variants", "M-2", "M-8", "--seeds", "2"],
        ["check", "--subject", "M-15", "--seed", "6"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_the_same_seed_gives_the_same_json(argv: list[str]) -> None:
    results: list[dict[str, Any]] = []
    for name in ("a.json", "b.json"):
        main([*argv, "--json", name])
        result = json.loads(Path(name).read_text(encoding="utf-8"))
        result.pop("timing")
        results.append(result)
    assert results[0] == results[1]


def test_spec_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec"]) == 0
    listed = capsys.readouterr().out
    assert "backup-is-prefix-closed" in listed
    for name in ("backup-is-prefix-closed", "I-1", "A4"):
        assert main(["spec", name]) == 0
        assert "invariants/backup.py" in capsys.readouterr().out
    assert main(["spec", "backup-is-prefix"]) == 2
    assert "did you mean backup-is-prefix-closed" in capsys.readouterr().err


def test_variants_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variants", "M-2", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert "pending-marks-are-exact" in out
    assert "all 1 variants caught" in out


def test_the_command_is_installed() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "radixproof.cli.main", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0
    assert run.stdout.startswith("radixproof ")


def test_an_interrupted_check_keeps_its_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "walk", interrupted)
    assert main(["check", "--seed", "1", "--json", "a.json"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("held so far: ")
    assert one_line(err)
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["verdict"] == "interrupted"


def test_a_counterexample_is_shown_even_if_it_cannot_be_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path(".radixproof").write_text("in the way", encoding="utf-8")
    assert main(["check", "--subject", "M-8", "--seed", "1"]) == 1
    out, err = capsys.readouterr()
    assert "COUNTEREXAMPLE" in out
    assert "was not saved" in err


def test_prove_shows_each_obligation_and_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "I-1", "--solver", "both", "--json", "proof.json"]) == 0
    out = capsys.readouterr().out
    assert "proved   split        backup-is-prefix-closed" in out
    assert "obligations for trees and pools of any size" in out
    result = json.loads(Path("proof.json").read_text(encoding="utf-8"))
    assert {tuple(o["answers"]) for o in result["obligations"]} == {("cvc5", "z3")}
    assert result["verdict"] == "held"


def test_prove_refutes_a_wrong_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "backup-is-prefix-closed", "--variant", "M-1b", "--summary"]) == 1
    out = capsys.readouterr().out
    assert "a run of the torch cache with M-1b gets there" in out
    assert "the same run on the model: held; on the right cache: held" in out


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["I-16"],
        ["--variant", "M-15"],
        ["--timeout", "0"],
        ["--solver", "vampire"],
        ["--crosshair", "I-1"],
        ["--json", "nowhere/proof.json"],
    ],
)
def test_prove_says_in_one_line_what_is_wrong(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prove", *argv]) == 2
    assert one_line(capsys.readouterr().err)


def test_explore_says_what_it_covered(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["explore", "--bounds", "requests=0,host=1", "--jobs", "1", "--json"]
    assert main([*argv, "a.json", "--resume", "there"]) == 0
    told = capsys.readouterr().out
    assert "is exhausted" in told
    assert "(100%) run on torch" in told
    assert main([*argv, "b.json"]) == 0
    results = [json.loads(Path(name).read_text(encoding="utf-8")) for name in ("a.json", "b.json")]
    for result in results:
        del result["timing"]
    assert results[0] == results[1]
    assert (
        results[0]["edges_executed"] == results[0]["edges"] == sum(results[0]["outcomes"].values())
    )


def test_explore_stops_where_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--states", "10", "--jobs", "1", "--resume", "there"]) == 0
    assert "held so far" in capsys.readouterr().out
    assert main(["explore", "--resume", "there", "--subject", "model"]) == 2
    assert one_line(capsys.readouterr().err)


def test_explore_reports_the_shortest_counterexample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--subject", "M-1", "--jobs", "1"]) == 1
    assert "every trace of fewer operations" in capsys.readouterr().out


def test_help_of_check_begins_with_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["check", "--help"])
    told = capsys.readouterr().out
    groups = [text.split(":\n", maxsplit=1) for text in told.split("\n\n") if ":\n" in text]
    switches = {title: re.findall(r"^  (--[a-z-]+)", body, re.MULTILINE) for title, body in groups}
    begin = ["--subject", "--components", "--policy", "--time", "--seed"]
    assert switches["begin with these"] == begin
    assert list(switches)[1] == "begin with these", "after -h alone"
    assert "--storage" in switches["with --subject sglang==VERSION or sglang:PATH"]
    assert told.count("\n  --") == sum(len(names) for names in switches.values()) > len(begin)


@pytest.mark.parametrize(("limit", "traces"), [(1e-9, 1), (None, 5)])
def test_diff_compares_one_trace_at_least(limit: float | None, traces: int) -> None:
    class Alike:
        def drawn(self, *_: object) -> Trace:
            return Trace(CacheConfig(), ())

        def compare(self, _: Trace) -> None:
            return None

    go_on = time_for_another(limit, begin=0.0)
    pair = cast(Pair, Alike())
    assert first_difference(pair, range(5), go_on=go_on) == (None, traces)
