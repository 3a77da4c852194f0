"""What the documents point at is there: pages, headings, and files named by their path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = "benchmarks|cli|docs|impl|invariants|model|stateful_tests"
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./*-]*)`")


def anchors(text: str) -> set[str]:
    """The headings of a page as links name them."""
    told = (m[1].strip().lower() for m in re.finditer(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in told}


def dead_ends(page: Path, text: str) -> Iterator[str]:
    """Links and named files of a page that lead nowhere."""
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            yield target
    for name in NAMED.findall(text):
        if not list(ROOT.glob(name.rstrip("/"))):
            yield name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_points_at_is_there(page: Path) -> None:
    assert not list(dead_ends(page, page.read_text("utf-8")))


def test_dead_ends_are_seen() -> None:
    page = ROOT / "docs" / "sglang.md"
    text = "[a](absent.md) [b](sglang.md#absent) [c](#absent) `model/absent.py` [d](sglang.md)"
    wanted = ["absent.md", "sglang.md#absent", "#absent", "model/absent.py"]
    assert list(dead_ends(page, text)) == wanted
