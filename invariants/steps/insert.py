"""What an insert must leave behind (domain.md 6.2)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_SWA, Step, step_invariant
from radixproof.invariants.steps.compare import (
    aligned,
    is_ok,
    is_refused,
    kept,
    key_of,
    length_present,
    path_to,
    unchanged,
)
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import CHUNKS_COUNT_HITS


def _is_vetoed(step: Step) -> bool:
    """A new leaf wholly outside the window is not made (6.2.6)."""
    o, config = step.operation, step.before.config
    assert isinstance(o, op.Insert)
    key = aligned(step.before, o.tokens)
    length = len(key)
    return (
        config.has_swa
        and not config.materialize_out_of_window_leaf
        and o.swa_evicted >= length
        and length_present(step.before, o.namespace, key) < length
    )


@step_invariant(
    "S-insert-1",
    op.Insert,
    formula="ok, not vetoed => the aligned key is spelled by a path that is on device",
    without_it="What was computed and handed over would be computed again.",
    taught_by="M-1, M-29",
)
def an_inserted_key_is_on_device(step: Step) -> Iterator[Fault]:
    """After an insert the whole aligned key is in the tree, on device."""
    if not is_ok(step) or _is_vetoed(step) or step.before.config.disable:
        return
    assert isinstance(step.operation, op.Insert)
    key = aligned(step.after, step.operation.tokens)
    path = path_to(step.after, step.operation.namespace, key)
    end = step.after.nodes[path[-1]].end if path else 0
    if end != len(key):
        yield Fault(f"the tree ends the key after {end} of {len(key)} tokens", tuple(path))
    for i in path:
        if step.after.nodes[i].evicted:
            yield Fault(f"{step.after.name(i)} is not on device after the insert", (i,))


@step_invariant(
    "S-insert-2",
    op.Insert,
    formula="ok => prefix_len = tokens of the aligned key that the tree had",
    without_it="The caller frees or keeps its slots by this number.",
    taught_by="M-4",
)
def an_insert_reports_what_the_tree_had(step: Step) -> Iterator[Fault]:
    """``prefix_len`` is the length of the key's longest prefix that was in the tree."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Insert)
    key = aligned(step.before, step.operation.tokens)
    had = length_present(step.before, step.operation.namespace, key)
    if step.outcome.values.get("prefix_len") != had:
        yield Fault(f"prefix_len is {step.outcome.values.get('prefix_len')}, the tree had {had}")


@step_invariant(
    "S-insert-3",
    op.Insert,
    formula="ok, not vetoed => all n on the path with start(n) >= swa_evicted: n.SWA.device",
    without_it="A tombstone inside the window stays one though its data was at hand.",
    taught_by="M-6, M-41",
    holds_under=WITH_SWA,
)
def an_insert_recovers_swa_inside_the_window(step: Step) -> Iterator[Fault]:
    """From the inserter's SWA frontier on, every node of the path has SWA data."""
    if not is_ok(step) or not step.before.config.has_swa or _is_vetoed(step):
        return
    assert isinstance(step.operation, op.Insert)
    key = aligned(step.after, step.operation.tokens)
    for i in path_to(step.after, step.operation.namespace, key):
        n = step.after.nodes[i]
        if n.end > step.operation.swa_evicted and (n.swa is None or n.swa.device is None):
            yield Fault(f"{step.after.name(i)} has no SWA data inside the window", (i,))


@step_invariant(
    "S-insert-4",
    op.Insert,
    formula="n not on the key's path => n.c.device after = n.c.device before",
    without_it="An insert frees duplicates: one wrong slot and it frees a stranger's.",
    taught_by="M-4",
)
def an_insert_touches_only_its_own_path(step: Step) -> Iterator[Fault]:
    """Device data of nodes off the key's path stays where it is."""
    assert isinstance(step.operation, op.Insert)
    o, page = step.operation, step.before.config.page_size
    key = key_of(step.before, o.tokens)
    for b, n in enumerate(step.before.nodes):
        first = n.start + page
        on_path = n.namespace == o.namespace and n.tokens[:first] == key[:first]
        if on_path:
            continue
        for component in step.before.config.components:
            if not kept(step, b, component, "device"):
                yield Fault(f"{component} data of {step.before.name(b)} changed")


@step_invariant(
    "S-insert-5",
    op.Insert,
    formula="refused => nothing changes but armed failures",
    without_it="A caller retries after a refusal: leftovers would pile up.",
    taught_by="M-31",
)
def a_refused_insert_changes_nothing(step: Step) -> Iterator[Fault]:
    """An insert without memory leaves everything as it was."""
    if is_refused(step):
        yield from unchanged(
            step,
            *("nodes", "pools", "full_to_swa", "evictable", "protected"),
            *("device_leaves", "host_leaves", "access_order", "creation_rank", "lru", "host_lru"),
            *("writes", "loads", "receipts", "requests", "candidates"),
        )


@step_invariant(
    "S-insert-6",
    op.Insert,
    formula="hit of the last node of the key grows by 1, by 0 if chunked or under write-back; no"
    " hit falls or jumps",
    without_it="The hit count decides what is worth a backup.",
    taught_by="M-28",
)
def an_insert_counts_at_most_one_hit(step: Step) -> Iterator[Fault]:
    """An insert counts one hit on the node that ends its key, none when it is a chunk."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Insert)
    o = step.operation
    counts = step.before.config.counts_hits and not o.chunked
    key = aligned(step.after, o.tokens)
    for i, n in enumerate(step.after.nodes):
        b = step.origin.get(i)
        grown = n.hit - (step.before.nodes[b].hit if b is not None else 0)
        ends_key = (n.namespace, n.tokens) == (o.namespace, key)
        if not 0 <= grown <= 1 or (grown and not counts):
            yield Fault(f"{step.after.name(i)}: {grown} hits more", (i,))
        elif ends_key and not grown and counts and not _is_vetoed(step):
            yield Fault(f"{step.after.name(i)}: the insert was not counted", (i,))


@step_invariant(
    "S-insert-8",
    op.Finish,
    formula="option chunks-count-hits: ok, n on the request's path, end(n) <= protected before =>"
    " hit(n) stays",
    without_it="One request alone reaches the threshold, and backs up what nobody asked for twice.",
    taught_by="a mutant of 0.5.23; U-13",
)
def a_request_counts_a_node_once(step: Step) -> Iterator[Fault]:
    """The end of a request counts no hit on what the request has cached, and so counted, before."""
    assert isinstance(step.operation, op.Finish)
    before, after, name = step.before, step.after, step.operation.request
    request = next((r for r in before.requests if r.name == name), None)
    if CHUNKS_COUNT_HITS not in after.options or request is None or not is_ok(step):
        return
    if before.config.sessions:  # what a session held before was counted by others
        return
    key = aligned(after, request.tokens)[: request.protected]
    for i in path_to(after, request.namespace, key):
        b = step.origin.get(i)
        if b is not None and after.nodes[i].hit != before.nodes[b].hit:
            yield Fault(f"{after.name(i)} counts {name} once more", (i,))


@step_invariant(
    "S-insert-7",
    op.Insert,
    op.Prefill,
    op.Finish,
    formula="n new, a leaf, n.SWA.device => len(n) <= ceil_page(W)",
    without_it="A lock on the leaf would pin the SWA of a whole prefill instead of one window.",
    taught_by="SGLang 26919, M-60",
    holds_under=WITH_SWA,
)
def a_fresh_leaf_covers_one_window(step: Step) -> Iterator[Fault]:
    """A new leaf with SWA data is no longer than one window, in whole pages (6.2.7)."""
    config = step.after.config
    if not is_ok(step) or not config.has_swa:
        return
    longest = config.sliding_window + -config.sliding_window % config.page_size
    for i, n in enumerate(step.after.nodes):
        fresh = i not in step.origin and not step.after.children.get(i)
        if fresh and n.swa is not None and n.swa.device is not None and len(n.key) > longest:
            yield Fault(f"{step.after.name(i)} is new and has {len(n.key)} tokens of SWA", (i,))
