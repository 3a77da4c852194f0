"""The right bytes in the right slots: shadow memory (domain.md 7.7)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from radixproof.invariants.catalogue import WITH_HOST, WITH_MAMBA, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import BINDS_BY_BATCH
from radixproof.model.payload import NEVER_WRITTEN, kv_tags
from radixproof.model.snapshot import Pool, Slots
from radixproof.model.units import are_pairs, raw_tokens


@lru_cache(maxsize=1 << 15)
def tags_of(namespace: str, units: tuple[int, ...]) -> tuple[int, ...]:
    """What the slots of a prefix must hold, one tag per unit."""
    return kv_tags(namespace, raw_tokens(units), len(units), bigram=are_pairs(units))


@lru_cache(maxsize=1 << 15)
def tags_so_far(
    namespace: str, tokens: tuple[int, ...], count: int, bigram: bool
) -> tuple[int, ...]:
    """What the slots of a request's first ``count`` tokens must hold."""
    return kv_tags(namespace, tokens, count, bigram=bigram)


def arriving(view: View, stream: str, component: str) -> set[int]:
    """Slots that a copy yet to run will write: device slots of loads, host slots of writes."""
    queue = view.loads if stream == "load" else view.writes
    moves = [m for t in queue if t.stage != "executed" for m in t.moves if m.component == component]
    return {x for m in moves for x in (m.device if stream == "load" else m.host)}


@state_invariant(
    "I-35",
    formula="all n, c, j outside pending loads: payload[n.c.device[j]] = prefix(n)[:start+j+1]"
    " (of pairs both tokens; of a decode server's nodes FULL alone)",
    without_it="A request would attend to another conversation's keys and values.",
    taught_by="M-14, M-39",
)
def device_slots_hold_their_prefix(view: View) -> Iterator[Fault]:
    """A node's device slots hold the KV of exactly its prefix, unless a load has yet to run."""
    for component in view.config.components:
        if component == SWA and view.config.decode_server:
            continue  # it has SWA slots before the window that it is sent; I-37 judges what is read
        coming = arriving(view, "load", component)
        yield from _wrong(view, component, "device", coming)


@state_invariant(
    "I-36",
    formula="all n, c, j outside pending writes: payload[n.c.host[j]] = prefix(n)[:start+j+1]",
    without_it="The damage is done when it is loaded back, long after its cause.",
    taught_by="M-3, M-6",
    holds_under=WITH_HOST,
)
def host_slots_hold_their_prefix(view: View) -> Iterator[Fault]:
    """A node's host slots hold the KV of exactly its prefix, unless a backup has yet to run."""
    if not view.config.has_host:
        return
    for component in view.config.components:
        coming = arriving(view, "write", component)
        yield from _wrong(view, component, "host", coming)


@state_invariant(
    "I-37",
    formula="all requests r, i < committed: payload[row[i]] is right, and for the last W - 1"
    " positions so is payload[f2s[row[i]]]",
    without_it="This is what the attention kernel reads.",
    taught_by="M-5, M-11, M-25, M-27",
)
def requests_read_their_own_prefix(view: View) -> Iterator[Fault]:
    """A running request's row leads to the KV of its own tokens, and its window to SWA data."""
    for r in view.requests:
        tags = tags_so_far(r.namespace, r.tokens, r.committed, view.config.bigram)
        row, pool = r.row[: r.committed], view.pools["full"]
        if len(row) < r.committed:
            yield Fault(f"request {r.name} has {len(row)} slots for {r.committed} tokens")
            continue
        wrong = mismatches(pool, row, tags, arriving(view, "load", "full"))
        if wrong:
            yield Fault(
                f"request {r.name} reads foreign FULL data at slots {wrong}",
                (),
                tuple(("full", x) for x in wrong),
            )
        if not view.config.has_swa:
            continue
        if view.config.decode_server and r.committed < r.prompt_len:
            continue  # its window has yet to arrive
        begin = max(0, r.committed - (view.config.sliding_window - 1))
        table = view.full_to_swa
        window = tuple(table[x] if 0 <= x < len(table) else 0 for x in row[begin:])
        if 0 in window:
            yield Fault(f"request {r.name} lost SWA data inside its window")
            continue
        wrong = mismatches(view.pools["swa"], window, tags[begin:], arriving(view, "load", "swa"))
        if wrong:
            yield Fault(
                f"request {r.name} reads foreign SWA data at slots {wrong}",
                (),
                tuple(("swa", x) for x in wrong),
            )


@state_invariant(
    "I-37",
    formula="all requests r: the state it goes on from (its slot, the slot to be copied, or zeros)"
    " = prefix(r)[:committed] (binds-by-batch: zeros without a slot, or a slot not written yet)",
    without_it="A recurrent model would continue from another prefix, and nothing would show it.",
    taught_by="SGLang 30986, M-37",
    holds_under=WITH_MAMBA,
)
def requests_go_on_from_their_own_state(view: View) -> Iterator[Fault]:
    """A running request's state, or the one that it is about to copy, is that of its own tokens."""
    if not view.config.has_mamba:
        return
    pool, by_batch = view.pools[MAMBA], BINDS_BY_BATCH in view.options
    for r in view.requests:
        slot = r.state_slot if r.state_source is None else r.state_source
        if slot is None:
            if not (r.zero_state and by_batch):
                yield Fault(f"request {r.name} has no state slot")
        elif by_batch and not (r.zero_state or r.committed):
            if mismatches(pool, (slot,), (NEVER_WRITTEN,), set()):
                yield Fault(f"request {r.name} has no token and a state", (), ((MAMBA, slot),))
        elif r.zero_state or not r.committed:
            if r.committed or not r.zero_state:
                yield Fault(f"request {r.name} has {r.committed} tokens, zero_state {r.zero_state}")
        else:
            wanted = tags_of(r.namespace, r.tokens)[r.committed - 1 : r.committed]
            if mismatches(pool, (slot,), wanted, arriving(view, "load", MAMBA)):
                told = f"request {r.name} goes on from a foreign state in slot {slot}"
                yield Fault(told, (), ((MAMBA, slot),))


def _wrong(view: View, component: str, tier: str, coming: set[int]) -> Iterator[Fault]:
    name = component if tier == "device" else f"host_{component}"
    pool = view.pools[name]
    for i, n in enumerate(view.nodes):
        p = n.placement(component)
        slots = None if p is None else p.device if tier == "device" else p.host
        if slots is None:
            continue
        begin = n.end - 1 if component == MAMBA else n.start
        tags = tags_of(n.namespace, n.tokens)[begin:]
        wrong = mismatches(pool, slots, tags, coming)
        if wrong:
            yield Fault(
                f"{view.name(i)} holds foreign data in {name} slots {wrong}",
                (i,),
                tuple((name, x) for x in wrong),
            )


def mismatches(pool: Pool, slots: Slots, tags: tuple[int, ...], coming: set[int]) -> list[int]:
    contents = pool.contents
    return [
        x
        for x, tag in zip(slots, tags, strict=False)
        if not 0 <= x < len(contents) or (contents[x] != tag and x not in coming)
    ]
