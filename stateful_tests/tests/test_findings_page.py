"""docs/findings: every page is in the index, every open defect has a page and is told as open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radixproof.stateful_tests.bugs.open import OPEN
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS

FOLDER = Path(__file__).parents[2] / "docs" / "findings"
PAGES = {page.stem for page in FOLDER.glob("*.md")} - {"README"}
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
OPEN_PART, REPAIRED_PART = INDEX.split("## Repaired by", maxsplit=1)


def _listed(part: str) -> list[str]:
    """Names of pages at the beginning of a row, in order."""
    return re.findall(r"^\| \[([^]]+)\]\(\1\.md\)", part, re.MULTILINE)


def test_every_page_is_in_the_index_once() -> None:
    listed = _listed(INDEX)
    assert len(listed) == len(set(listed))
    assert set(listed) == PAGES


def test_what_is_open_is_told_as_open() -> None:
    assert set(_listed(OPEN_PART)) == set(OPEN)


@pytest.mark.parametrize("id", OPEN)
def test_an_open_defect_has_its_row_and_its_page(id: str) -> None:
    defect = OPEN[id]
    page = (FOLDER / f"{id}.md").read_text(encoding="utf-8")
    (row,) = (line for line in OPEN_PART.splitlines() if line.startswith(f"| [{id}]"))
    assert f"stateful_tests/bugs/open/{id}.json" in page
    for text in (row, page.split("\n## ", maxsplit=1)[0]):
        assert {defect.since, defect.latest} <= set(
            re.findall(r"\d+\.\d+\.\d+(?:\.post\d+)?", text)
        )
    for name, value in defect.environment.items():
        assert f"--set {name}={value}" in row
        assert f"--set {name}={value}" in page


def test_what_the_index_reproduces_is_on_record() -> None:
    named = set(re.findall(r"`reproduce ([^`]+)`", REPAIRED_PART))
    assert named, "rows of the table name what reproduces them"
    assert named <= set(RELEASE_BUGS)


def test_the_readme_counts_what_is_open() -> None:
    readme = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    (latest,) = {defect.latest for defect in OPEN.values()}
    assert f"{len(OPEN)} defects that SGLang {latest} still has" in readme
