"""docs/invariants.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.render import NOT_EXPRESSED, catalogue_markdown

PAGE = Path(__file__).parents[2] / "docs" / "invariants.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue_markdown(), "run `make docs`"


def test_every_number_is_stated_or_excused() -> None:
    stated = {i.number for i in CATALOGUE.values()}
    wanted = {f"I-{n}" for n in range(1, 48)}
    assert set(NOT_EXPRESSED) == {"I-42"}, "a property of runs"
    assert wanted == (stated & wanted) | set(NOT_EXPRESSED)
    assert not stated & set(NOT_EXPRESSED)
