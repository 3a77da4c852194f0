"""Garbled traces are refused in one line, and what watches over that can fail."""

from __future__ import annotations

from random import Random

import pytest

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import TraceError
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests import garble
from radixproof.stateful_tests.choose import RandomChooser

TRACE = Trace(CacheConfig(), (op.Insert((1, 2), chunked=True), op.Evict(1, 1), op.Lock("a", (1,))))


def test_most_are_refused_and_some_are_traces_still() -> None:
    choose = RandomChooser(Random(5))
    told = [garble.complaint(garble.garbled(TRACE, choose)) for _ in range(400)]
    assert 0 < told.count(None) < 200
    assert garble.complaint(dumps(TRACE)) is None


def test_a_complaint_of_two_lines_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_lines(text: str) -> Trace:
        raise TraceError("this\nand that")

    monkeypatch.setattr(garble, "loads", two_lines)
    with pytest.raises(ValueError, match="not one line"):
        garble.complaint("")


def test_a_trace_that_is_written_otherwise_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(trace: Trace) -> str:
        return dumps(Trace(trace.config, trace.operations[:-1]))

    monkeypatch.setattr(garble, "dumps", other)
    with pytest.raises(ValueError, match="written otherwise"):
        garble.complaint(dumps(TRACE))
