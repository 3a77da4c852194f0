"""What is wrong in the latest release driven here is shown by its trace, and has its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from radixproof.impl.sglang.wheels import PYTHON
from radixproof.stateful_tests.bugs.open import OPEN, TRACES, OpenDefect
from radixproof.stateful_tests.tests.between_releases import holds, shows

FINDINGS = Path(__file__).parents[2] / "docs" / "findings"
DEFECTS = pytest.mark.parametrize("defect", OPEN.values(), ids=lambda defect: defect.id)


@DEFECTS
def test_an_open_defect_has_a_trace_and_a_page(defect: OpenDefect) -> None:
    assert defect.trace().operations
    page = (FINDINGS / f"{defect.id}.md").read_text(encoding="utf-8")
    assert defect.since in page
    assert all(slug in page for slug in defect.wanted)


def test_every_trace_and_every_page_is_of_an_open_defect() -> None:
    assert {p.stem for p in TRACES.glob("*.json")} == set(OPEN)


@pytest.mark.nightly
@DEFECTS
def test_an_open_defect_is_in_the_latest_release(defect: OpenDefect) -> None:
    for version in (defect.since, defect.latest):
        shows(version, PYTHON, defect.trace(), defect.wanted, defect.reach, defect.environment)
    if defect.before:
        holds(defect.before, PYTHON, defect.trace(), defect.reach, defect.environment)
