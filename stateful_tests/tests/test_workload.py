"""Recorded requests, side by side."""

from __future__ import annotations

import gzip
import json
import os
from itertools import islice
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.config import CacheConfig
from radixproof.stateful_tests.mooncake import WorkloadError, read, scaled
from radixproof.stateful_tests.variants import VARIANTS
from radixproof.stateful_tests.workload import run_workload

RECORDED = "mooncake-conversation-trace.jsonl.gz"
DATA = Path(os.environ.get("RADIXPROOF_DATA", Path(__file__).parents[3] / "shared" / "data"))
CONFIG = CacheConfig(
    page_size=2,
    sliding_window=4,
    full_slots=64,
    swa_slots=64,
    host_full_slots=256,
    host_swa_slots=256,
)


def lines(count: int) -> str:
    """Conversations that share their first blocks."""
    requests = [
        {
            "timestamp": 100 * i,
            "input_length": 512 * 6,
            "output_length": 512 * 6,
            "hash_ids": [0, i % 3, *range(10 * (i % 7), 10 * (i % 7) + 4)],
        }
        for i in range(count)
    ]
    return "\n".join(map(json.dumps, requests)) + "\n"


def test_plain_and_packed_files_are_the_same(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_text(lines(9), encoding="utf-8")
    packed.write_bytes(gzip.compress(lines(9).encode()))
    assert list(read(plain, 2)) == list(read(packed, 2))
    first = next(read(plain, 2))
    assert first.prompt[:2] == (1, 2)
    assert len(first.prompt) == 12


@pytest.mark.parametrize(("length", "block", "tokens"), [(512, 4, 4), (513, 4, 5), (0, 4, 0)])
def test_scaling_rounds_up(length: int, block: int, tokens: int) -> None:
    assert scaled(length, block) == tokens


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "7",
        '{"timestamp": 0}',
        '{"timestamp": 0, "input_length": -1, "output_length": 1, "hash_ids": [1]}',
        '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}',
        '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": ["a"]}',
    ],
)
def test_malformed_lines_are_named(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(lines(3) + line + "\n", encoding="utf-8")
    with pytest.raises(WorkloadError, match="line 4"):
        list(read(path, 2))
    assert main(["workload", str(path)]) == 2
    out, err = capsys.readouterr()
    assert "line 4" in err
    assert err.count("\n") == 1
    assert "requests 3" in out, "what was run so far is kept"


def test_a_truncated_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(lines(50).encode())[:60])
    with pytest.raises(WorkloadError):
        list(read(path, 2))


def test_a_workload_hits_both_tiers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(80), encoding="utf-8")
    report = run_workload(read(path, 2), open_torch, CONFIG, sample=20)
    assert report.counterexample is None
    assert report.requests == 80
    assert report.finished + report.out_of_memory + report.too_large == 80
    assert report.device_hit_tokens > 0
    assert report.host_hit_tokens > 0
    assert report.backups > 0
    assert report.device_evicted_tokens > 0
    assert report.looks > 60


@pytest.mark.parametrize("id", ["M-1", "M-19", "M-33"])
def test_a_wrong_cache_is_caught_by_real_input(tmp_path: Path, id: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(80), encoding="utf-8")
    report = run_workload(read(path, 2), VARIANTS[id].open, CONFIG, sample=20)
    assert report.counterexample is not None


@pytest.mark.skipif(not (DATA / RECORDED).exists(), reason="the recorded trace is not here")
def test_the_first_recorded_requests() -> None:
    config = CacheConfig(
        sliding_window=8,
        full_slots=512,
        swa_slots=512,
        host_full_slots=2048,
        host_swa_slots=2048,
    )
    requests = islice(read(DATA / RECORDED, 1), 60)
    report = run_workload(requests, open_torch, config)
    assert report.counterexample is None
    assert report.finished == 60
