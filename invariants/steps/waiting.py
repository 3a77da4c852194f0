"""Requests that wait, are retracted, or hold less than before (domain.md 6.9, 10.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from radixproof.invariants.catalogue import WITH_SWA, Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, receipts_stay, unchanged, values_stay
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.errors import ErrorKind
from radixproof.model.options import BINDS_BY_BATCH, WAITS_UNLOCKED
from radixproof.model.snapshot import ROOT, Candidate, Request


def _running(view: View, name: str) -> Request | None:
    return next((r for r in view.requests if r.name == name), None)


def _waiting(view: View, name: str) -> Candidate | None:
    return next((c for c in view.candidates if c.name == name), None)


@step_invariant(
    "S-prepare-1",
    op.Prepare,
    op.Retract,
    formula="ok => the request waits: last_node ends device_hit tokens of it, one request receipt"
    " on it; best_match as answered; no request of that name runs. Option waits-unlocked: no"
    " receipt, and nothing was looked up by Retract",
    without_it="A request that waits on a prefix it does not hold is admitted onto nothing.",
    taught_by="M-53",
    of_turns=False,
)
def a_waiting_request_holds_its_device_prefix(step: Step) -> Iterator[Fault]:
    """A request that waits has locked the device prefix that its match found."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Prepare | op.Retract)
    name, after, values = step.operation.request, step.after, step.outcome.values
    c = _waiting(after, name)
    if c is None:
        yield Fault(f"request {name} does not wait")
        return
    if _running(after, name) is not None:
        yield Fault(f"request {name} runs and waits")
    held = [r for r in after.receipts if (r.owner, r.name, r.tier) == ("request", name, "device")]
    if WAITS_UNLOCKED in after.options:
        if held or c.last_node != ROOT:
            yield Fault(f"{name} was not admitted and holds {len(held)} receipts")
        return
    end = after.nodes[c.last_node].end if c.last_node >= 0 else 0
    if (end, c.best_match) != (values.get("device_hit"), values.get("best_match")):
        yield Fault(f"{name} waits on {end} tokens of {c.best_match}, answered {dict(values)}")
    if [r.anchor for r in held] != [c.last_node]:
        yield Fault(f"{name} holds {len(held)} receipts, not one on its last node")


def _free(view: View) -> dict[str, list[int]]:
    """Pool -> what is free, in any order."""
    return {name: sorted(pool.free_pages) for name, pool in view.pools.items()}


@step_invariant(
    "S-prepare-2",
    op.Prepare,
    formula="ok => the waiting request is the one given; all data, pools and maps as before. Option"
    " waits-unlocked: all receipts and sizes, too",
    without_it="Looking a request up must cost nobody anything.",
    taught_by="M-27",
)
def preparing_only_locks(step: Step) -> Iterator[Fault]:
    """To wait changes recency, locks and one split, never data."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Prepare)
    o, c = step.operation, _waiting(step.after, step.operation.request)
    given = (o.namespace, o.tokens, o.priority)
    if c is not None and (c.namespace, c.tokens, c.priority) != given:
        yield Fault(f"request {o.request} is not the one that was given")
    yield from unchanged(step, "full_to_swa", "armed_failures")
    if BINDS_BY_BATCH not in step.after.options or not step.after.config.has_mamba:
        yield from unchanged(step, "pools")
    elif _free(step.before) != _free(step.after):
        yield Fault("free slots changed")  # one was lent to the request and given back
    if WAITS_UNLOCKED in step.after.options:
        yield from unchanged(step, "evictable", "protected")
        yield from receipts_stay(step)
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")


@step_invariant(
    "S-proceed-1",
    op.Proceed,
    formula="ok => the request that waited runs with its tokens, namespace and priority; refused =>"
    " it waits on as before",
    without_it="Between waiting and running a request must neither change nor get lost.",
    taught_by="M-53",
)
def who_waited_runs_or_waits_on(step: Step) -> Iterator[Fault]:
    """Going on turns the waiting request into the running one, or leaves it waiting."""
    assert isinstance(step.operation, op.Proceed)
    name = step.operation.request
    c, r = _waiting(step.before, name), _running(step.after, name)
    if c is None:
        return
    if is_ok(step):
        given = (c.namespace, c.tokens, c.priority, len(c.tokens))
        if r is None or (r.namespace, r.tokens, r.priority, r.prompt_len) != given:
            yield Fault(f"request {name} is not the one that waited")
        elif r.swa_evicted and not step.is_of_turn:  # a turn goes on where its session slid to
            yield Fault(f"request {name} begins with {r.swa_evicted} tokens outside its window")
        return
    left = _waiting(step.after, name)
    if r is not None or left is None or replace(left, last_node=0) != replace(c, last_node=0):
        yield Fault(f"request {name} does not wait as before")


@step_invariant(
    "S-retract-1",
    op.Retract,
    formula="ok => the request waits with all its tokens for a prompt",
    without_it="Output that was shown already would be computed again, and differently.",
    taught_by="M-54",
)
def a_retracted_request_waits_with_all_its_tokens(step: Step) -> Iterator[Fault]:
    """Retraction forgets what the cache knew of the request, not what it said."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Retract)
    r = _running(step.before, step.operation.request)
    c = _waiting(step.after, step.operation.request)
    if r is None or c is None:
        return
    if (c.namespace, c.tokens, c.priority) != (r.namespace, r.tokens, r.priority):
        yield Fault(f"request {r.name} waits with other tokens than it had")


@step_invariant(
    "S-release-window-1",
    op.ReleaseWindow,
    formula="ok => the request's receipt covers FULL as before, no SWA and no state; W - 1 tokens"
    " before the next are its own; everything else as before",
    without_it="Given back too early, the tree may take the window that the next token attends to.",
    taught_by="M-55, SGLang 36848",
    holds_under=WITH_SWA,
)
def an_early_release_keeps_the_kv(step: Step) -> Iterator[Fault]:
    """An early release gives back window and state of the prefix, and nothing else."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.ReleaseWindow)
    name = step.operation.request
    for b in step.before.receipts:
        mine = (b.owner, b.name, b.tier) == ("request", name, "device")
        wanted = replace(b, swa_start=None, state=False) if mine else b
        if wanted not in step.after.receipts:
            yield Fault(f"the receipt of {b.owner} {b.name} became another")
    yield from unchanged(step, "pools", "full_to_swa", "writes", "loads", "requests", "lru")
    yield from values_stay(step, "device")
    yield from values_stay(step, "host")
    r = _running(step.after, name)
    window = step.after.config.sliding_window
    if r is not None and r.committed - (window - 1) < r.protected:
        yield Fault(f"the window of {name} still reaches into its protected prefix")


@step_invariant(
    "S-release-window-2",
    op.ReleaseWindow,
    formula="E_PROTO => not due; due: the prompt is complete, W tokens are decoded, no position of"
    " the window lies in the protected prefix, and the receipt's SWA part begins below the root",
    without_it="A long answer would pin the window of its prompt to its end, for nobody to use.",
    taught_by="M-76, SGLang 28161",
    holds_under=WITH_SWA,
)
def an_early_release_that_is_due_is_made(step: Step) -> Iterator[Fault]:
    """Whoever decoded past the window and still holds its prompt's window may give it back."""
    assert isinstance(step.operation, op.ReleaseWindow)
    r = _running(step.before, step.operation.request)
    if r is None or step.outcome.error is not ErrorKind.PROTOCOL:
        return
    window = step.before.config.sliding_window
    held = [
        x.swa_start
        for x in step.before.receipts
        if (x.owner, x.name, x.tier) == ("request", r.name, "device") and x.swa_start
    ]
    decoded = r.committed - r.prompt_len
    if held and decoded >= window and r.committed - (window - 1) >= r.protected:
        yield Fault(f"request {r.name} cannot give back the window of its prompt")
