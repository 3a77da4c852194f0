"""The vocabulary: every public operation of the cache, as a scheduler uses it.

Nodes are named by the prefix they spell, never by id, so that a trace means the same on every
subject; with bigram keys too it is tokens that an operation gives, while lengths and positions in
the tree count pairs. Each docstring says what is legal when, in what order the effects happen, and
which named integers the outcome carries. Illegal use is answered with the error named there and
changes nothing.

Allocation. *Attempting* ``k > 0`` slots of a pool takes them, or fails: when an armed
``FailAllocation`` of that pool is consumed, or when the pool is short. A *composite* attempt
(FULL and SWA together) attempts FULL first and SWA only after that; if either fails it takes
nothing. Slots are handed out in whole pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.model.config import FULL
from radixproof.model.session_operations import CloseSession as CloseSession
from radixproof.model.session_operations import OpenSession as OpenSession
from radixproof.model.session_operations import Turn as Turn
from radixproof.model.storage_operations import STORAGE_OPERATIONS, StorageOperation

Tokens = tuple[int, ...]

WRITE = "write"
LOAD = "load"
STREAMS = (WRITE, LOAD)


@dataclass(frozen=True, slots=True)
class Match:
    """Look a key up (6.1). May split one node.

    Outcome: ``device_hit`` = end of ``last_device_node``; ``best_match`` = end of
    ``best_match_node``; ``host_hit``, ``swa_host_hit`` as in 6.1 (tokens); with MAMBA also
    ``mamba_host_hit`` (1: the state of the best match is on host only) and ``branching`` (tokens,
    0: none; without a host tier only). Slots: the FULL slots of the device hit.
    """

    tokens: Tokens
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Insert:
    """A client allocates, writes and hands over a whole key, protecting nothing (6.2, prev = 0).

    1. With MAMBA an attempt of one state slot; then a composite attempt of
       ``ceil_page(len(tokens))`` slots. Failing -> refused, nothing taken (no eviction).
    2. Write the payloads of all tokens, FULL and SWA, and the state after all of them.
    3. ``free_swa`` of the first ``swa_evicted`` slots, as a request that left its window would.
    4. Insert the page-aligned key of ``L = floor_page(len(tokens))`` tokens.
    5. Composite free of the slots from ``L`` on, and of the state slot unless the tree took it.

    E_ARG: no tokens; ``swa_evicted`` negative, not page-aligned, beyond ``L``, or > 0 without SWA.
    Outcome: ``prefix_len`` (tokens the tree had already); with MAMBA ``state_taken`` (0 or 1).
    """

    tokens: Tokens
    namespace: str = ""
    swa_evicted: int = 0
    chunked: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Lock:
    """Take a device lock on the node that spells ``tokens`` (5.7); ``()`` is the root.

    E_ARG: no such node. E_PROTO: ``holder`` holds a device lock already.
    Outcome: ``delta`` (FULL tokens that became protected).
    """

    holder: str
    tokens: Tokens
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give a device receipt back (5.7). E_PROTO: ``holder`` holds none."""

    holder: str


@dataclass(frozen=True, slots=True)
class HostLock:
    """Take a host lock on the node that spells ``tokens`` (5.8), which must be backed up.

    FULL counts on the node alone; SWA counts on the nodes from it upwards until the window is
    covered, with or without host values.
    E_ARG: no such node, the root, a node that is not backed up, or no host tier.
    E_PROTO: ``holder`` holds a host lock already.
    """

    holder: str
    tokens: Tokens
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class HostUnlock:
    """Give a host receipt back (5.8). E_PROTO: ``holder`` holds none."""

    holder: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Free device memory (6.4). E_ARG: a negative number, or one of an absent component.

    Under write-back (with a host tier) a leaf that is not backed up is copied to the host first:
    the copy is queued, run and acknowledged before the leaf is demoted, so no backup is ever
    pending between operations. A leaf that the host refuses stays and is not tried again in this
    call. The same holds wherever an operation evicts to make room.

    Outcome: ``freed_full``, ``freed_swa`` (device tokens), with MAMBA ``freed_mamba`` (states).
    """

    full: int = 0
    swa: int = 0
    mamba: int = 0


@dataclass(frozen=True, slots=True)
class EvictHost:
    """Free host memory of one component (6.5).

    E_ARG: a negative number, an unknown component, or no host tier.
    Outcome: ``freed`` (host slots of that component).
    """

    count: int
    component: str = FULL


@dataclass(frozen=True, slots=True)
class LoadBack:
    """Bring the prefix that ends at the node spelling ``tokens`` back to the device (6.8.1).

    E_ARG: no such node, the root, ``mem_quota`` negative, or the node is no valid best match: an
    evicted node on its path is not backed up, or a device-or-host validator of 6.1 (SWA, MAMBA)
    is false at it. Refused, in this order: no host tier; the node is the target of a pending load
    (I-33); steps 3 to 5 of 6.8.1. Evictions done before a refusal stand.
    Slots are attempted in the order FULL, SWA, MAMBA.
    Outcome: ``loaded_full``, ``loaded_swa`` (tokens that got a device slot), with MAMBA
    ``loaded_mamba``.
    """

    tokens: Tokens
    namespace: str = ""
    mem_quota: int | None = None


@dataclass(frozen=True, slots=True)
class StartLoading:
    """Merge and submit the load queue (6.8.3).

    Refused while three submissions are unfinished (not executed), unless the queue is empty.
    Outcome: ``submitted`` (loads merged; 0 when the queue was empty).
    """


@dataclass(frozen=True, slots=True)
class Execute:
    """The oldest copy that is submitted and has not run yet, on one stream, runs now (8.1).

    A write submission is one backup; a load submission is everything one StartLoading merged.
    ``rank``: where it runs; ``None``: on every rank where one waits. All else is done by all ranks.
    E_ARG: unknown stream or rank. E_PROTO: nothing waits on that stream.
    """

    stream: str
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Observe:
    """``writing_check`` or ``loading_check`` (6.7, 6.8.4): acknowledge finished heads in order.

    ``limit`` is the number all ranks agreed on: at most so many submissions are popped; ``None``
    pops every finished one at the head. E_ARG: unknown stream, or a negative limit.
    Outcome: ``acknowledged`` (ids finished).
    """

    stream: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """A request enters (6.9, admission).

    Match all its tokens but the last; lock ``last_device_node`` temporarily; unless the match
    needs nothing (``best_match_node`` on device and all host hits 0), and if ``load_back`` is
    set, load back ``best_match_node``; lock the node where the usable prefix ends (kept); release
    the temporary lock. The row becomes that prefix's slots, all of it protected. A refused
    load-back is no refusal of the request: it recomputes.

    With MAMBA the request gets a state slot of its own, under the temporary lock: one is attempted,
    after a failure one state evicted, while ``best_match_node`` is locked and host-locked, and one
    more attempted; failing again -> refused (no request; a split and the eviction stand). A load
    that brings a state copies it into this slot as well. Otherwise the next forward pass copies the
    state at the end of the usable prefix into it, or zeroes it where nothing is usable.

    E_ARG: no tokens, ``mem_quota`` negative. E_PROTO: ``request`` runs or waits already.
    Outcome: ``device_hit``, ``host_hit``, ``swa_host_hit`` (``mamba_host_hit``) of the match;
    ``loaded`` (1 if a load-back was accepted); ``protected`` (tokens). Slots: the FULL slots of
    the protected prefix.
    """

    request: str
    tokens: Tokens
    namespace: str = ""
    priority: int = 0
    load_back: bool = True
    mem_quota: int | None = None


@dataclass(frozen=True, slots=True)
class Prepare:
    """A request is looked up and waits: the first half of Admit (6.9).

    Match all its tokens but the last and lock ``last_device_node``. What is on the host only is
    not locked: anything may happen to it before the request goes on.

    E_ARG: no tokens. E_PROTO: ``request`` runs or waits already.
    Outcome: ``device_hit``, ``best_match``, ``host_hit``, ``swa_host_hit`` (``mamba_host_hit``).
    """

    request: str
    tokens: Tokens
    namespace: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Proceed:
    """A waiting request is admitted: the second half of Admit.

    Its best match is what spells those tokens now; where nothing does, or a validator of 6.1 is
    false there now, nothing is loaded. Refused as Admit; the request then waits on.

    E_ARG: ``mem_quota`` negative. E_PROTO: no such request waits.
    Outcome: ``loaded``, ``protected``. Slots: the FULL slots of the protected prefix.
    """

    request: str
    load_back: bool = True
    mem_quota: int | None = None


@dataclass(frozen=True, slots=True)
class Retract:
    """A running request gives up its memory and waits again (6.9, retraction).

    As Abort, then as Prepare with all its tokens so far, prompt and output, for a prompt.
    E_PROTO: unknown request. Outcome: as Prepare.
    """

    request: str


@dataclass(frozen=True, slots=True)
class ReleaseWindow:
    """Early release: a request's lock keeps FULL and gives back SWA, and MAMBA with it (10.2).

    E_ARG: no SWA. E_PROTO: unknown request, its prompt is not complete, released already, or one
    of the ``W - 1`` positions before the next token lies in the protected prefix.
    """

    request: str


@dataclass(frozen=True, slots=True)
class Prefill:
    """Compute the KV of the next ``count`` prompt tokens and cache them (6.9).

    1. Room: ``n = ceil_page(committed + count) - allocated``; if ``n > 0`` (with MAMBA always,
       for one state slot as well): where a pool is short, evict all shortages in one call; with
       MAMBA attempt a state slot; composite attempt; failing -> refused (evictions stand, the
       request is as before).
    2. The forward pass waits for every load: run all submitted loads, then submit the load queue
       (not subject to StartLoading's bound) and run it. Nothing is acknowledged.
    3. Fill the request's state slot where that is outstanding; write the payloads and advance the
       state; copy it into the new state slot, which the tree is offered.
    4. ``cache_unfinished_req``, chunked unless this completed the prompt, with the request's true
       ``swa_evicted``; a state that the tree did not take is freed.

    E_ARG: ``count < 1`` or beyond the prompt. E_PROTO: unknown request.
    Outcome: ``prefix_len`` (of the insert), ``protected`` (afterwards).
    """

    request: str
    count: int


@dataclass(frozen=True, slots=True)
class Decode:
    """Append output tokens and compute their KV. Room as in Prefill step 1, without a state slot,
    and for ``ahead`` tokens beyond: slots that speculative decoding takes before it knows how many
    of its drafts are accepted. They stay the request's until it uses them or ends.

    E_ARG: no tokens, ``ahead`` negative. E_PROTO: unknown request, or its prompt is not complete.
    Outcome: ``committed``.
    """

    request: str
    tokens: Tokens
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class SlideWindow:
    """Give back SWA slots that left the request's window (6.9, ``evict_out_of_window``).

    ``pre_len`` is the number of committed tokens. E_ARG: no SWA. E_PROTO: unknown request.
    Outcome: ``freed`` (SWA tokens), ``swa_evicted``.
    """

    request: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The request ends and its tokens are cached (6.9, ``cache_finished_req``).

    Its own state slot is donated to the tree, and freed if the tree has that state already.

    E_PROTO: unknown request, or its prompt is not complete. Outcome: ``prefix_len``.
    """

    request: str


@dataclass(frozen=True, slots=True)
class Abort:
    """The request ends and nothing of it is cached (6.9, ``is_insert = false``).

    ``row[protected:allocated]`` is freed, and its state slot: where a load has yet to fill that,
    all loads run first, as in Prefill step 2. A request that waits only gives its lock back.
    E_PROTO: unknown request.
    """

    request: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Flush everything (6.10). Device allocators, host pools and armed failures start anew.

    E_BUSY: a request runs, a client holds a receipt, or a transfer is queued or unacknowledged.
    """


@dataclass(frozen=True, slots=True)
class FailAllocation:
    """The environment: the next attempt to allocate from ``pool`` fails; arming adds up.

    E_ARG: the configuration has no such pool (``CacheConfig.pools``).
    """

    pool: str


Operation = (
    Match
    | Insert
    | Lock
    | Unlock
    | HostLock
    | HostUnlock
    | Evict
    | EvictHost
    | LoadBack
    | StartLoading
    | Execute
    | Observe
    | Admit
    | Prepare
    | Proceed
    | Retract
    | ReleaseWindow
    | Prefill
    | Decode
    | SlideWindow
    | Finish
    | Abort
    | Reset
    | FailAllocation
    | OpenSession
    | Turn
    | CloseSession
    | StorageOperation
)

OPERATIONS: dict[str, type[Operation]] = {
    "match": Match,
    "insert": Insert,
    "lock": Lock,
    "unlock": Unlock,
    "host_lock": HostLock,
    "host_unlock": HostUnlock,
    "evict": Evict,
    "evict_host": EvictHost,
    "load_back": LoadBack,
    "start_loading": StartLoading,
    "execute": Execute,
    "observe": Observe,
    "admit": Admit,
    "prepare": Prepare,
    "proceed": Proceed,
    "retract": Retract,
    "release_window": ReleaseWindow,
    "prefill": Prefill,
    "decode": Decode,
    "slide_window": SlideWindow,
    "finish": Finish,
    "abort": Abort,
    "reset": Reset,
    "fail_allocation": FailAllocation,
}
"""Name in a trace -> operation of the specification."""

SESSION_OPERATIONS: dict[str, type[Operation]] = {
    "open_session": OpenSession,
    "turn": Turn,
    "close_session": CloseSession,
}
"""What traces of servers with sessions have beside them."""
EVERY_OPERATION: dict[str, type[Operation]] = {
    **OPERATIONS,
    **SESSION_OPERATIONS,
    **STORAGE_OPERATIONS,
}
"""With those of servers with sessions, and of caches with a storage tier: not specified."""
NAMES: dict[type[Operation], str] = {cls: name for name, cls in EVERY_OPERATION.items()}
