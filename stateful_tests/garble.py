"""Traces with one thing broken: what reads them must refuse them in its own words, or read them.

Unlike ``illegal.py``, which breaks what an operation may do, this breaks the file.
"""

from __future__ import annotations

import json
from typing import Any

from radixproof.model.errors import TraceError
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.choose import Chooser

JUNK: tuple[Any, ...] = (None, True, -1, 3, 1.5, 1 << 40, "x", [], {}, [None], ["a"], [-1], [1])


def garbled(trace: Trace, choose: Chooser) -> str:
    """The text of a trace with one change that a broken program or a careless hand makes."""
    text = dumps(trace)
    if choose.chance(10):
        place = choose.integer(0, len(text) - 1)
        return text[:place] + choose.pick(("", "{", "]", '"', "x")) + text[place + 1 :]
    if choose.chance(5):
        return json.dumps(choose.pick(JUNK))
    raw = json.loads(text)
    operations = raw["operations"]
    part = choose.pick([raw, raw["config"], choose.pick(operations) if operations else raw])
    name = choose.pick((*sorted(part), "surprise"))
    if choose.chance(25):
        part.pop(name, None)
    else:
        part[name] = choose.pick(JUNK)
    if operations and choose.chance(5):
        operations[0] = choose.pick(JUNK)
    return json.dumps(raw)


def complaint(text: str) -> str | None:
    """Why a text is no trace; ``None`` for one that is, and is written as it was read.

    Anything else that is raised is a defect of the reader, and so is more than one line.
    """
    try:
        again = loads(text)
    except TraceError as problem:
        told = str(problem)
        if not told.strip() or "\n" in told:
            raise ValueError(f"not one line: {told!r}") from None
        return told
    if loads(dumps(again)) != again:
        raise ValueError("a trace that was read is written otherwise")
    return None
