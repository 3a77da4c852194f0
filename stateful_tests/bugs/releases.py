"""Bugs of real SGLang releases: the release that shows it, the one that does not, and a trace.

``traces/ID.json`` is the shortest trace known, in the vocabulary of model/operations.py: what a
walk from cold was shrunk to, or written by hand, as each row says. Whether walks find it too, with
the limits given here, is what ``radixproof recall`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from radixproof.model.config import EXTRA_BUFFER, FULL, MAMBA, SWA, WRITE_BACK, WRITE_THROUGH
from radixproof.model.options import COPIES_LATER_STATES, COPIES_LATER_WINDOWS
from radixproof.model.trace import Trace
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.corpus import load
from radixproof.stateful_tests.sglang.judge import Plan
from radixproof.stateful_tests.sglang.passable import APART
from radixproof.stateful_tests.sglang.reach import DEFAULT, Reach

TRACES = Path(__file__).parent / "traces"
_PLAIN: Mapping[str, str] = MappingProxyType({})
_SLIDING = MappingProxyType(
    {
        "SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS": "1",
        "SGLANG_OPT_SWA_EVICT_DROP_PAGE_MARGIN": "1",
    }
)
"""Caching a chunk slides the window, without a page to spare."""
_FREES_EARLY = MappingProxyType({"SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS": "1"})
"""Caching a chunk slides the window. Opt-in until 0.5.17."""


@dataclass(frozen=True, slots=True)
class ReleaseBug:
    """``id``: number of the upstream pull request or issue; a name where none is known to us."""

    id: str
    title: str
    shows: str
    """A release that has it."""
    fixed: str
    """The first release without it."""
    properties: str
    """What it breaks: codes of docs/properties.md."""
    wanted: frozenset[str]
    """Slugs of the oracles that show it."""
    limits: Limits
    reach: Reach = DEFAULT
    environment: Mapping[str, str] = field(default_factory=lambda: _PLAIN)
    """Opt-in flags of the release without which it cannot happen."""
    past: frozenset[str] = frozenset()
    """Slugs of wrong steps on the way to it (sglang/passable.py)."""
    by_hand: bool = False
    """The trace was written from the record of the bug, not shrunk from a walk."""

    @property
    def path(self) -> Path:
        return TRACES / f"{self.id}.json"

    def trace(self) -> Trace:
        return load(self.path)

    def hunt(self, seconds: float) -> Plan:
        """From cold: walks until it shows."""
        return Plan(0, seconds, self.limits, self.reach, wanted=self.wanted)


RELEASE_BUGS = {
    bug.id: bug
    for bug in (
        ReleaseBug(
            "25065",
            "a leaf split at the SWA frontier is never backed up, and deleted at eviction",
            "0.5.12.post1",
            "0.5.13",
            "P7 P8",
            frozenset({"hits-at-the-threshold-are-backed-up"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "27072",
            "a node split before its backup is acknowledged: the upper part is not published",
            "0.5.12.post1",
            "0.5.13",
            "P8 P18",
            frozenset({"pending-writes-keep-their-source"}),
            Limits((FULL,), WRITE_THROUGH),
        ),
        ReleaseBug(
            "26919",
            "a long fresh leaf keeps SWA for all of its tokens, so that a lock pins far more than"
            " a window",
            "0.5.12.post1",
            "0.5.13",
            "P11 P17",
            frozenset({"a-fresh-leaf-covers-one-window"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "26302",
            "a load-back that is short of SWA slots alone evicts leaves, FULL and all",
            "0.5.12.post1",
            "0.5.13",
            "P14 P17",
            frozenset(
                {
                    "a-load-back-takes-the-least-recent-windows",
                    "a-load-back-with-room-evicts-nothing",
                }
            ),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "24585",
            "write-back eviction does not wait for the copy that it queued",
            "0.5.12.post1",
            "0.5.13",
            "P3 P9",
            frozenset({"write-back-waits-for-its-copies"}),
            Limits((FULL,), WRITE_BACK),
        ),
        ReleaseBug(
            "26728",
            "a load-back's own eviction takes the host slots that it is about to load",
            "0.5.13.post1",
            "0.5.14",
            "P3 P6 P9",
            frozenset({"no-crash", "device-slots-hold-their-prefix"}),
            Limits((FULL,), WRITE_BACK),
        ),
        ReleaseBug(
            "27038",
            "copy-on-write unlocks without its window's mark, up to the root: another request's"
            " window is released",
            "0.5.12.post1",
            "0.5.13",
            "P5 P6",
            frozenset({"state-locks-never-exceed-window-locks"}),
            Limits((FULL, SWA, MAMBA), WRITE_THROUGH, host=False),
            by_hand=True,
        ),
        ReleaseBug(
            "27391",
            "the budget of an admission does not count the SWA that its own load-back takes: the"
            " batch gets no slots, and the server ends",
            "0.5.12.post1",
            "0.5.13",
            "P11 P17",
            frozenset({"who-is-admitted-gets-slots"}),
            Limits((FULL, SWA), WRITE_THROUGH, budget=True),
            by_hand=True,
        ),
        ReleaseBug(
            "29352",
            "an insert over an SWA tombstone replaces FULL slots that are locked and read",
            "0.5.14",
            "0.5.15",
            "P1 P3 P6",
            frozenset({"locked-device-data-stays"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "36848",
            "a lock remembers by node id what it skipped: after a split its unlock takes the SWA"
            " lock of another holder",
            "0.5.19",
            "0.5.20",
            "P5 P11",
            frozenset({"requests-read-their-own-prefix", "a-running-request-holds-its-prefix"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "38138",
            "a split under a host lock leaves the upper half of the SWA window without it",
            "0.5.19",
            "0.5.20",
            "P5 P9",
            frozenset({"receipts-change-only-for-their-owner"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "38481",
            "the quota of a load-back does not count the ancestors that its lock newly pins",
            "0.5.19",
            "0.5.20",
            "P11 P17",
            frozenset({"a-load-back-respects-its-quota"}),
            Limits((FULL,), WRITE_THROUGH),
            Reach(quotas=True),
        ),
        ReleaseBug(
            "38482",
            "a split makes the half of a node that nobody used the most recent",
            "0.5.19",
            "0.5.20",
            "P12",
            frozenset({"what-is-not-used-keeps-its-place"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "29351",
            "a key that lies wholly outside the SWA window is not cached, and its FULL KV is lost",
            "0.5.14",
            "0.5.15",
            "P1 P8 P14",
            frozenset({"an-inserted-key-is-on-device"}),
            Limits((FULL, SWA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "27770",
            "a decode server repoints a prompt that arrived to what a match finds of it, which may"
            " be nothing: an assertion, or request and tree own the same slots",
            "0.5.22",
            "0.5.23",
            "P1 P13",
            frozenset({"no-crash", "device-slots-have-one-owner"}),
            Limits((FULL, SWA), WRITE_THROUGH, decode_server=True),
        ),
        ReleaseBug(
            "load-of-a-refused-candidate",
            "a candidate for which no chunk is left has its prefix loaded back, and is refused",
            "0.5.19",
            "0.5.20",
            "P15",
            frozenset({"who-is-not-admitted-takes-nothing"}),
            Limits((FULL,), WRITE_THROUGH, budget=True),
        ),
        ReleaseBug(
            "29860",
            "a window that slides while a prompt is cached passes the end of what is inserted,"
            " where a page is larger than the window",
            "0.5.14",
            "0.5.15",
            "P1 P13",
            frozenset({"device-slots-have-one-owner", "a-prefilled-chunk-is-cached-and-held"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=4, host=False),
            environment=_SLIDING,
            by_hand=True,
        ),
        ReleaseBug(
            "29282",
            "the insert of an unfinished request accepts more than the match that follows",
            "0.5.14",
            "0.5.15",
            "P1 P13",
            frozenset({"no-crash"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=4, host=False),
            environment=_SLIDING,
            by_hand=True,
        ),
        ReleaseBug(
            "27424",
            "a load-back's own eviction takes the host copy of the window that it is about to load",
            "0.5.13.post1",
            "0.5.14",
            "P9",
            frozenset({"no-crash"}),
            Limits((FULL, SWA), WRITE_BACK),
            by_hand=True,
        ),
        ReleaseBug(
            "27779",
            "a freed SWA page stays mapped from those of its tokens that were not named",
            "0.5.13.post1",
            "0.5.14",
            "P1 P4",
            frozenset({"free-slots-are-unmapped"}),
            Limits((FULL, SWA), WRITE_THROUGH),
            by_hand=True,
        ),
        ReleaseBug(
            "27789",
            "speculative decoding with pages above 1 loses SWA pages one by one: 27779, where a"
            " request ends with slots for drafts",
            "0.5.13.post1",
            "0.5.14",
            "P1 P4",
            frozenset({"free-slots-are-unmapped"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=4),
            by_hand=True,
        ),
        ReleaseBug(
            "27586",
            "an insert over an SWA tombstone frees the SWA slots that a stale map entry names: seen"
            " where the entry becomes stale, 27779",
            "0.5.13.post1",
            "0.5.14",
            "P1 P3 P4",
            frozenset({"free-slots-are-unmapped", "tombstones-are-unmapped"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=4, host=True),
            by_hand=True,
        ),
        ReleaseBug(
            "28161",
            "the early release of a prompt's window is never made, whatever the flag says",
            "0.5.13.post1",
            "0.5.14",
            "P5 P6",
            frozenset({"an-early-release-that-is-due-is-made"}),
            Limits((FULL, SWA), WRITE_THROUGH),
            Reach(early_release=True),
            by_hand=True,
        ),
        ReleaseBug(
            "27108",
            "write-back eviction never ends where the host refuses the only leaf there is",
            "0.5.16",
            "0.5.17",
            "P8 P15 P17",
            frozenset({"no-crash"}),
            Limits((FULL, SWA), WRITE_BACK),
            by_hand=True,
        ),
        ReleaseBug(
            "34870",
            "with bigram keys caching a chunk frees SWA to less than a window from the key's end:"
            " the match refuses the leaf, and request and tree own the same slots (34823 switched"
            " the freeing off for it)",
            "0.5.17",
            "0.5.18",
            "P1 P13 P19",
            frozenset({"device-slots-have-one-owner"}),
            Limits((FULL, SWA), WRITE_THROUGH, bigram=True),
            environment=_FREES_EARLY,
        ),
        ReleaseBug(
            "38204",
            "the hashes of the nodes in front of a leaf that goes to the store are gathered by"
            " recursion: a chain of 1,000 nodes ends the scheduler",
            "0.5.19",
            "0.5.20",
            "P17",
            frozenset({"no-crash"}),
            Limits((FULL,), WRITE_BACK, host=True, storage=True),
            by_hand=True,
        ),
        ReleaseBug(
            "stored-namespaces",
            "page hashes leave the namespace out: what one namespace stored, another is given",
            "0.5.19",
            "0.5.20",
            "P3 P19",
            frozenset({"stored-pages-hold-the-prefix-of-their-hash"}),
            Limits((FULL,), WRITE_THROUGH, host=True, storage=True),
            by_hand=True,
        ),
        ReleaseBug(
            "store-that-raises",
            "a call to the store that raises ends the thread: nothing is acknowledged any more",
            "0.5.21",
            "0.5.22",
            "P15 P17",
            frozenset({"no-crash"}),
            Limits((FULL,), WRITE_THROUGH, host=True, storage=True),
            by_hand=True,
        ),
        ReleaseBug(
            "39318",
            "prefetches are known by request id: what is read late for a request before its"
            " retraction is taken for its new prefetch, whose slots nobody has filled",
            "0.5.19",
            "0.5.20",
            "P3 P5",
            frozenset({"host-slots-hold-their-prefix", "host-slots-have-one-owner"}),
            Limits((FULL,), WRITE_THROUGH, host=True, storage=True),
            by_hand=True,
        ),
        ReleaseBug(
            "38429",
            "a prefetch from storage lands on the host, and nobody is told of its blocks until they"
            " are told to be gone",
            "0.5.19",
            "0.5.20",
            "P18",
            frozenset({"events-tell-what-is-resident"}),
            Limits((FULL,), WRITE_THROUGH, host=True, kv_events=True, storage=True),
            by_hand=True,
        ),
        ReleaseBug(
            "loads-not-agreed",
            "each rank acknowledges its loads for itself, and lets go of what others still lock",
            "0.5.12.post1",
            "0.5.13",
            "P16",
            frozenset({"ranks-await-the-same-copies"}),
            Limits((FULL,), WRITE_THROUGH, ranks=2),
        ),
        ReleaseBug(
            "27489",
            "a rank without a pending backup does not enter the collective in which the others"
            " agree on acknowledgements",
            "0.5.12.post1",
            "0.5.13",
            "P16 P17",
            frozenset({"ranks-call-the-same-collectives"}),
            Limits((FULL,), WRITE_THROUGH, ranks=2),
            past=frozenset(APART),
            by_hand=True,
        ),
        ReleaseBug(
            "26556",
            "SWA that an insert gives back to a backed-up node is not copied to the host",
            "0.5.19",
            "0.5.20",
            "P8",
            frozenset({"a-backed-up-prefix-keeps-its-window-on-the-host"}),
            Limits((FULL, SWA), WRITE_THROUGH),
            Reach(promised=(COPIES_LATER_WINDOWS,)),
        ),
        ReleaseBug(
            "33639",
            "a state that comes later to a backed-up node is never copied to the host (26556 has"
            " this half, too)",
            "0.5.17",
            "0.5.18",
            "P8",
            frozenset({"a-backed-up-prefix-keeps-its-state-on-the-host"}),
            Limits((FULL, MAMBA), WRITE_THROUGH),
            Reach(promised=(COPIES_LATER_STATES,)),
        ),
        ReleaseBug(
            "unfinished-window",
            "caching a chunk frees SWA to less than a window from the key's end, where the window"
            " is no multiple of the page: the match refuses the leaf, and request and tree own the"
            " same slots",
            "0.5.22",
            "0.5.23",
            "P1 P13",
            frozenset({"device-slots-have-one-owner"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=4, bigram=False),
        ),
        ReleaseBug(
            "finished-window",
            "with bigram keys a request that ends a token short of a window finds its own leaf"
            " refused, and frees what it has just given to the tree",
            "0.5.22",
            "0.5.23",
            "P1 P13 P19",
            frozenset({"device-slots-have-one-owner"}),
            Limits((FULL, SWA), WRITE_THROUGH, page_size=2, bigram=True),
        ),
        ReleaseBug(
            "state-of-a-pending-load",
            "a request copies its state from a node that another of its batch loads back, before"
            " the load has run",
            "0.5.19",
            "0.5.20",
            "P3 P9",
            frozenset({"requests-go-on-from-their-own-state"}),
            Limits((FULL, MAMBA), WRITE_THROUGH),
        ),
        ReleaseBug(
            "24380",
            "a request whose thinking is stripped hands over, for its prompt, a state that it put"
            " aside later",
            "0.5.21",
            "0.5.22",
            "P3",
            frozenset({"device-slots-hold-their-prefix"}),
            Limits((FULL, MAMBA), WRITE_THROUGH, host=False, mamba_strategy=EXTRA_BUFFER),
            environment={"strip_thinking_cache": "1"},
            by_hand=True,
        ),
        ReleaseBug(
            "29792",
            "under overlapped scheduling a decode step that ends a tracking interval is counted"
            " twice: the request hands over the slot that does not hold the state",
            "0.5.17",
            "0.5.18",
            "P3",
            frozenset({"a-state-put-aside-is-that-of-its-length"}),
            Limits((FULL, MAMBA), WRITE_THROUGH, host=False, mamba_strategy=EXTRA_BUFFER),
            by_hand=True,
        ),
        ReleaseBug(
            "leaf-of-a-refused-load",
            "a refused load-back gives back its lock of FULL before that of SWA: the parent is"
            " missing from the device leaves and can never be evicted (U-3)",
            "0.5.19",
            "0.5.20",
            "P10 P17",
            frozenset({"device-leaf-set-is-exact"}),
            Limits((FULL, SWA), WRITE_THROUGH),
            by_hand=True,
        ),
        ReleaseBug(
            "one-node-two-loads",
            "write-back: a load-back asserts that no other loads the window above its target, and"
            " stops the scheduler where one does",
            "0.5.18",
            "0.5.19",
            "P9 P17",
            frozenset({"no-crash"}),
            Limits((FULL, SWA, MAMBA), WRITE_BACK),
        ),
    )
}
"""Number -> bug. What cannot be reached: docs/results/sglang/recorded-bugs.md."""
