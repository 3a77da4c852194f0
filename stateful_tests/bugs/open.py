"""Defects of the latest release driven here that no release is without yet: docs/findings/ID.md.

Each is shown by a trace of what a server can do, in ``open/ID.json``. Fixed upstream it becomes a
row of releases.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radixproof.model.trace import Trace
from radixproof.stateful_tests.corpus import load
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach

TRACES = Path(__file__).parent / "open"


@dataclass(frozen=True, slots=True)
class OpenDefect:
    """``since``: the first release of those driven that shows it; ``before``: the last without.

    ``before`` is "" where none of those driven is without it.
    """

    id: str
    title: str
    before: str
    since: str
    latest: str
    wanted: frozenset[str]
    """Slugs of the oracles that show it."""
    reach: Reach = DEFAULT
    environment: Mapping[str, str] = field(default_factory=dict)
    """Opt-in flags of the release without which it cannot happen."""

    def trace(self) -> Trace:
        return load(TRACES / f"{self.id}.json")


OPEN = {
    defect.id: defect
    for defect in (
        OpenDefect(
            "host-events-without-kv",
            "write-back tells blocks as stored on the host of which only the SWA window was copied",
            "0.5.19",
            "0.5.20",
            "0.5.23",
            frozenset({"events-tell-what-is-resident"}),
        ),
        OpenDefect(
            "overwritten-checkpoint",
            "under overlapped scheduling a request hands over a slot of its tracking buffer that a"
            " step under way has written again",
            "0.5.17",
            "0.5.18",
            "0.5.23",
            frozenset({"a-state-put-aside-is-that-of-its-length"}),
        ),
        OpenDefect(
            "pinned-states",
            "states whose backup is in flight are in no budget: the next one finds no slot",
            "0.5.21",
            "0.5.22",
            "0.5.23",
            frozenset({"no-crash"}),
        ),
        OpenDefect(
            "prefetch-beside-its-anchor",
            "a prefetch under write-back asks for other tokens than those behind its anchor",
            "",
            "0.5.18",
            "0.5.23",
            frozenset({"a-prefetch-begins-where-its-anchor-ends"}),
        ),
        OpenDefect(
            "prefetched-before-its-parent",
            "a prefetch lands below a node whose backup is in flight, and is told as stored first",
            "",
            "0.5.20",
            "0.5.23",
            frozenset({"stored-blocks-have-their-parents"}),
        ),
        OpenDefect(
            "state-of-a-refused-load",
            "a request whose load-back is refused keeps its device prefix and starts from zeros",
            "",
            "0.5.13",
            "0.5.23",
            frozenset({"an-admitted-request-gets-its-prefixs-state"}),
        ),
        OpenDefect(
            "rejected-turn-frees-its-session",
            "a turn that is rejected because one is in flight takes that one's mark away: the third"
            " turn runs on the same slots",
            "",
            "0.5.12.post1",
            "0.5.23",
            frozenset({"a-session-has-one-turn-in-flight"}),
        ),
        OpenDefect(
            "rejected-turn-takes-the-session",
            "a turn that is rejected beside the first turn of its session stops the scheduler",
            "0.5.21",
            "0.5.22",
            "0.5.23",
            frozenset({"no-crash"}),
        ),
        OpenDefect(
            "retraction-taken-for-an-end",
            "a session takes a retracted turn for one that finished: the next is let in beside it",
            "",
            "0.5.12.post1",
            "0.5.23",
            frozenset({"a-session-has-one-turn-in-flight", "a-turn-goes-on-from-the-history"}),
        ),
        OpenDefect(
            "window-that-never-arrived",
            "a decode server caches SWA slots that no transfer filled; a later prompt reads them",
            "",
            "0.5.19",
            "0.5.23",
            frozenset({"requests-read-their-own-prefix"}),
        ),
        OpenDefect(
            "thinking-after-retraction",
            "with strip_thinking_cache a request that was retracted frees slots of the tree when it"
            " ends",
            "",
            "0.5.12.post1",
            "0.5.23",
            frozenset({"device-slots-have-one-owner"}),
            environment={"strip_thinking_cache": "1"},
        ),
        OpenDefect(
            "token-that-was-not-computed",
            "speculation without overlap: a session takes a draft's slot for the last token",
            "0.5.14",
            "0.5.15",
            "0.5.23",
            frozenset({"sessions-keep-the-kv-of-their-tokens"}),
            environment={"disable_overlap_schedule": "1"},
        ),
    )
}
