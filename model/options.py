"""Named options of the specification: where caches legally differ from the STRICT profile.

A subject says in its snapshots which it follows (``Snapshot.options``); the invariants that an
option touches read it there, and those that it makes meaningless are not judged
(stateful_tests/sglang/dialect.py). The specification itself follows none.
"""

from __future__ import annotations

SKIP_SET_LOCKS = "skip-set-locks"
"""A lock counts only nodes with data, up to a window of data (5.7, U-2). SGLang until 0.5.19."""
ANCHORED_HOST_LOCKS = "anchored-host-locks"
"""A host lock counts FULL on its anchor alone; a split leaves it on the lower part, which keeps the
upper part from being a leaf (5.8). SGLang until 0.5.21."""
NO_PENDING_MARKS = "no-pending-marks"
"""Nodes do not show which write covers them (10.1, 2), and hits are counted only with a host tier
(10.1, 12). SGLang until 0.5.12."""
NO_CREATION_TIMES = "no-creation-times"
"""Nodes do not remember when they were made. SGLang until 0.5.12."""
LISTS_LOCKED_HOST = "lists-locked-host"
"""A host list may hold host-locked nodes, for its walks skip them (5.8). SGLang since 0.5.14."""
UNPINNED_LOADS = "unpinned-loads"
"""A load-back takes no host lock on its source (6.8.1, U-7). SGLang until 0.5.13."""
BACKS_UP_WINDOWS = "backs-up-windows"
"""A backup takes along all SWA of its window that has no host copy, also of nodes that are backed
up already (10.2, 7); its acknowledgement tells their blocks as stored on the host again. SGLang
since 0.5.18."""
COPIES_LATER_STATES = "copies-later-states"
"""An insert onto a backed-up node copies the state that it finds or brings there to the host, under
write-through (10.2, 7; else U-14). SGLang since 0.5.18."""
COPIES_LATER_WINDOWS = "copies-later-windows"
"""The same of the SWA of a window that came back on the device; every backup takes it along, too.
SGLang since 0.5.20."""
BACKS_UP_WHAT_IS_REGAINED = "backs-up-what-is-regained"
"""Under write-back too, an insert that gives SWA back to a node with host data copies that SWA to
the host; the copy holds a lock until it is acknowledged. SGLang 0.5.20 to 0.5.22."""
SLIDES_IN_PREFILL = "slides-in-prefill"
"""Caching a chunk slides the request's window (10.2, 6). SGLang since 0.5.18, by default."""
STOPS_AT_BRANCHES = "stops-at-branches"
"""A running request's insert may end at a branching point (10.2, 11). SGLang since 0.5.20."""
SPLITS_AT_PROMPT = "splits-at-prompt"
"""A tree of FULL alone ends a node where the prompt ends, with a priority one higher (10.2, 10).
SGLang since 0.5.20."""
WAITS_UNLOCKED = "waits-unlocked"
"""A request that waits holds nothing: its match is looked up again when it is admitted, and none is
made when it is retracted (6.9). All releases of SGLang; decision 9 is the specification's."""
TELLS_NO_EVENTS = "tells-no-events"
"""The cache has no KV events (10.1, 11). SGLang until 0.5.12."""
SHARES_BLOCKS = "shares-blocks"
"""Block hashes, and so KV events, leave the namespace out (U-17). SGLang, unless it writes the
events of one router (from 0.5.22 on)."""
SHARES_STORED_PAGES = "shares-stored-pages"
"""Page hashes of the storage tier leave the namespace out (U-17): what one namespace stored,
another is given. SGLang until 0.5.19."""
DIES_WITH_ITS_STORE = "dies-with-its-store"
"""A call to the store that raises ends the thread that made it. SGLang until 0.5.21."""
STRIPS_THINKING = "strips-thinking"
"""A request that thinks ends as if it had been aborted after its prompt. SGLang, where the server
argument ``strip_thinking_cache`` is set."""
DISABLES_ELSEWHERE = "disables-elsewhere"
"""Where caching is disabled a server has a cache of another kind. SGLang until 0.5.21."""
CHUNKS_COUNT_HITS = "chunks-count-hits"
"""Every insert of a request counts, each node once a request (10.2, 10). SGLang since 0.5.22."""
BINDS_BY_BATCH = "binds-by-batch"
"""A request that starts from no state gets its slot with its first forward pass, and that pass
settles the slots of all requests admitted so far (6.9). SGLang; its scheduler admits a batch."""
COPIES_STATES_AT_ONCE = "copies-states-at-once"
"""The match itself copies the state into the request's slot, and a state slot is zeroed when it is
handed out (6.1; 10.1, 13). SGLang until 0.5.12."""
ONE_HOST_HIT = "one-host-hit"
"""Hits on the host are one number: of FULL, or 1 where only SWA or a state is to be loaded
(10.1, 7). SGLang until 0.5.12."""
RECENCY_ALONE = "recency-alone"
"""Leaves are evicted by recency, whatever the eviction strategy (10.1, 12). SGLang until 0.5.12."""
BRANCHES_BEYOND_STATES = "branches-beyond-states"
"""A branching point lies beyond what states make usable, with a host tier too (6.1; 10.2, 11).
SGLang since 0.5.17."""
REFRESHES_ONE_STATE = "refreshes-one-state"
"""A match makes only the state that it uses recent (10.2, 11). SGLang since 0.5.16."""
NO_SESSIONS = "no-sessions"
"""The unified cache carries no streaming sessions (model/session_operations.py). No release."""
HIDES_TRACKING = "hides-tracking"
"""Leaf sets, recency lists, times, hit counts, priorities, pending marks and the labels of children
are not shown. Rust cores of SGLang."""
HIDES_LOCKS = "hides-locks"
"""Of SWA locks only whether there is one on device data is shown, of host locks nothing, and of
receipts only what they hold on to. Rust cores of SGLang."""
