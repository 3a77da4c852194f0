"""The benchmark measures what it says; how fast is for the benchmark, not for a test."""

from __future__ import annotations

import pytest

from radixproof.benchmarks import harness, sglang
from radixproof.impl.sglang.wheels import locate


def test_a_short_run_has_all_its_fields() -> None:
    result = harness.run(seed=1, rounds=1)
    assert result["ratio"] > 0
    assert set(result["shares"]) == {*harness.PARTS, "hypothesis"}
    assert sum(result["shares"].values()) == pytest.approx(1)
    assert all(share > 0 for share in result["shares"].values())
    assert result["steps"]["checked"] > 0
    assert result["steps"]["bare"] > 0


def test_a_short_run_on_a_release_has_all_its_fields() -> None:
    result = sglang.run(locate(sglang.SUBJECT), seed=1, rounds=1, walks=2)
    assert set(result["shares"]) == {*sglang.PARTS, "drawing"}
    assert sum(result["shares"].values()) == pytest.approx(1)
    assert all(result["shares"][part] > 0 for part in sglang.PARTS)
    assert result["ratio"] > 0
    assert result["steps"]["checked"] == result["steps"]["timed"] > 0
    assert 0 < result["steps"]["alone"] <= result["steps"]["timed"]
    assert sglang.SUBJECT in sglang.told(result)
