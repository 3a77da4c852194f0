"""The soak: its rounds are the same however often it is interrupted, and it finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.stateful_tests import soak as module
from radixproof.stateful_tests.profiles import Profile
from radixproof.stateful_tests.soak import CELLS, SoakRecord, soak
from radixproof.stateful_tests.variants import VARIANTS


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ROUND", Profile("soak", 1, 2, 10, 3, 20))
    monkeypatch.chdir(tmp_path)


def test_every_component_set_meets_every_policy() -> None:
    assert len(set(CELLS)) == 12


def test_a_soak_goes_on_where_it_was_stopped() -> None:
    whole = SoakRecord("torch", 3)
    assert soak(open_torch, whole, 400, lambda _: None) is None
    first = SoakRecord("torch", 3)
    soak(open_torch, first, 150, lambda _: None)
    assert first.rounds < whole.rounds
    second = SoakRecord.from_json(json.loads(json.dumps(first.to_json())))
    soak(open_torch, second, 400, lambda _: None)
    assert second.to_json() == whole.to_json()
    assert sum(whole.steps_of.values()) == whole.coverage.steps >= 400


def test_a_soak_finds_a_wrong_cache() -> None:
    found = soak(VARIANTS["M-1"].open, SoakRecord("M-1", 1), 100_000, lambda _: None)
    assert found is not None
    assert "hits-at-the-threshold-are-backed-up" in found.slugs


def test_the_command_keeps_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--steps", "100", "--seed", "2", "--record", "r.json"]) == 0
    assert capsys.readouterr().out.startswith("held: ")
    done = json.loads(Path("r.json").read_text(encoding="utf-8"))["rounds"]
    assert main(["soak", "--steps", "300", "--record", "r.json"]) == 0
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["rounds"] > done


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"subject": "torch"}', '{"outcomes": 3}'])
def test_a_broken_record_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.json").write_text(text, encoding="utf-8")
    assert main(["soak", "--record", "r.json"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Path("r.json").read_text(encoding="utf-8") == text


def test_a_record_belongs_to_one_subject_and_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--steps", "1", "--seed", "2", "--record", "r.json"]) == 0
    assert main(["soak", "--steps", "1", "--seed", "3", "--record", "r.json"]) == 2
    assert main(["soak", "--steps", "1", "--subject", "M-1", "--record", "r.json"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
