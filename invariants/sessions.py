"""What sessions hold between their turns (model/session_operations.py)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_SESSIONS, WITH_SWA, state_invariant
from radixproof.invariants.data import arriving, mismatches, tags_so_far
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.snapshot import Session, Slots


@state_invariant(
    "I-50",
    formula="all sessions s, i < s.committed: payload[s.row[i]] = s.tokens[:i+1]",
    without_it="The next turn attends to it without having looked at it again.",
    taught_by="a corrupted state",
    holds_under=WITH_SESSIONS,
)
def sessions_keep_the_kv_of_their_tokens(view: View) -> Iterator[Fault]:
    """What a session holds between turns is the KV of its own tokens."""
    for s in view.sessions:
        if not s.committed <= len(s.row) or s.committed > len(s.tokens):
            told = f"{s.committed} computed of {len(s.tokens)} tokens in {len(s.row)} slots"
            yield Fault(f"session {s.name} has {told}")
            continue
        yield from _foreign(view, s, "full", s.row[: s.committed], 0)


@state_invariant(
    "I-51",
    formula="all sessions s, the last W - 1 positions i < s.committed: f2s[s.row[i]] != 0 and"
    " payload[f2s[s.row[i]]] = s.tokens[:i+1]",
    without_it="The first token of the next turn would attend to a window that is gone.",
    taught_by="a corrupted state",
    holds_under=WITH_SWA,
)
def sessions_keep_their_window(view: View) -> Iterator[Fault]:
    """A session keeps the window that the next token of its next turn attends to."""
    table = view.full_to_swa
    for s in view.sessions if view.config.has_swa else ():
        begin = max(0, s.committed - (view.config.sliding_window - 1))
        row = s.row[begin : s.committed]
        window = tuple(table[x] if 0 <= x < len(table) else 0 for x in row)
        if 0 in window:
            yield Fault(f"session {s.name} lost SWA data inside its window")
            continue
        yield from _foreign(view, s, "swa", window, begin)


@state_invariant(
    "I-52",
    formula="all sessions s with a row: s.row[:protected] = the slots of the path of s.last_node,"
    " on which s has its one receipt; without a row: no receipt",
    without_it="The tree's part of a session's KV could be evicted between two turns.",
    taught_by="a corrupted state",
    holds_under=WITH_SESSIONS,
)
def sessions_lock_their_prefix(view: View) -> Iterator[Fault]:
    """A session between turns locks the part of its KV that is the tree's; one without KV none."""
    for s in view.sessions:
        anchors = [r.anchor for r in view.receipts if (r.owner, r.name) == ("session", s.name)]
        if anchors != ([s.last_node] if s.row else []):
            yield Fault(f"session {s.name} holds {len(anchors)} receipts, {len(s.row)} slots")
        path = [x for i in view.path(s.last_node) for x in reversed(_on_device(view, i))]
        if tuple(reversed(path)) != s.row[: s.protected]:
            yield Fault(f"the row of session {s.name} does not follow the tree's slots")


def _on_device(view: View, index: int) -> Slots:
    return view.nodes[index].full.device or ()


def _foreign(view: View, s: Session, pool: str, slots: Slots, begin: int) -> Iterator[Fault]:
    tags = tags_so_far(s.namespace, s.tokens, s.committed, view.config.bigram)[begin:]
    wrong = mismatches(view.pools[pool], slots, tags, arriving(view, "load", pool))
    if wrong:
        at = tuple((pool, x) for x in wrong)
        yield Fault(f"session {s.name} holds foreign {pool} data in slots {wrong}", (), at)
