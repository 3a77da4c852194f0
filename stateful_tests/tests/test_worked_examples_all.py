"""Every worked example of domain.md 11 has its test, by number, on the model and the torch cache.

None of the 24 needs a storage tier.
"""

from __future__ import annotations

import re
from pathlib import Path


def test_each_example_has_its_test() -> None:
    pages = sorted(Path(__file__).parent.glob("test_worked_examples_*.py"))
    names = [n for p in pages for n in re.findall(r"^def test_x(\d+)", p.read_text(), re.M)]
    assert {int(n) for n in names} == set(range(1, 25))


def test_each_runs_on_both_subjects() -> None:
    pages = sorted(Path(__file__).parent.glob("test_worked_examples_*.py"))
    heads = [
        h for p in pages for h in re.findall(r"^def test_x\d+\w*\(([^)]*)", p.read_text(), re.M)
    ]
    assert heads
    assert all("open_subject: OpenSubject" in head for head in heads)
