"""A checkout that cannot be judged is one line, exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.impl.sglang.wheels import fetch
from radixproof.stateful_tests.mutation.planting import linked_copy
from radixproof.stateful_tests.tests.broken import CACHE, broken_copy

RAISES = """
    def __init__(self, params):
        raise ValueError("no such backend")
"""


def told_of(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check", "--subject", f"sglang:{root}", "--time", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:\n", "does not import: SyntaxError"),
        (
            "from sglang.srt.mem_cache.absent import Absent\n",
            "does not import: ModuleNotFoundError",
        ),
        # modules that no run executes are not there for the asking either
        (
            "from sglang.srt.layers.attention.absent import Absent\n",
            "does not import: ModuleNotFoundError",
        ),
        (
            "from sglang.srt.layers.attention.base_attn_backend import Absent\n",
            "does not import: ImportError: cannot import name 'Absent'",
        ),
    ],
)
def test_an_import_that_fails(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = linked_copy(fetch("0.5.23"), tmp_path, {str(CACHE): text})
    assert told in told_of(root, capsys)


def test_a_cache_that_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = broken_copy(fetch("0.5.23"), tmp_path, RAISES)
    told = told_of(root, capsys)
    assert "its cache cannot be opened: ValueError: no such backend" in told
    assert "unified_radix_cache.py" in told
