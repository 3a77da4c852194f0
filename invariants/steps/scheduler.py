"""What a scheduler's budget promises (``max_new_tokens``; domain.md 6.9 and P15, P17).

It admits by what is free and what can be evicted, before anything is allocated. A promise that is
not kept ends the server: allocation is asked for once, and its failure is no answer but an end.
"""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import Step, step_invariant
from radixproof.invariants.steps.compare import is_ok, is_refused, whole_pages
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op


@step_invariant(
    "S-scheduler-1",
    op.Prefill,
    formula="refused => granted(request) = 0 before",
    without_it="The server ends for want of memory, with all that it runs.",
    taught_by="SGLang 27391",
)
def who_is_admitted_gets_slots(step: Step) -> Iterator[Fault]:
    """What the budget admitted to a forward pass gets its slots, after eviction."""
    if not is_refused(step):
        return
    batch = [r for r in step.before.requests if r.granted]
    if any(r.name == getattr(step.operation, "request", None) for r in batch):
        names = ", ".join(f"{r.name} to {r.granted} tokens" for r in batch)
        yield Fault(f"admitted {names}: {step.outcome.reason}")


@step_invariant(
    "S-scheduler-2",
    op.Admit,
    op.Proceed,
    formula="max_new_tokens > 0, ok => protected < granted <= prompt_len",
    without_it="A batch would have a request in it that it computes nothing of.",
    taught_by="M-37",
)
def who_is_admitted_is_computed(step: Step) -> Iterator[Fault]:
    """A request that the budget admitted has tokens to compute in the batch, and no others."""
    assert isinstance(step.operation, op.Admit | op.Proceed)
    if not step.after.config.max_new_tokens or not is_ok(step):
        return
    for r in step.after.requests:
        if r.name == step.operation.request and not r.protected < r.granted <= r.prompt_len:
            yield Fault(f"{r.name} is granted {r.granted} of {r.prompt_len}, has {r.protected}")


@step_invariant(
    "S-scheduler-3",
    op.Admit,
    op.Proceed,
    formula="max_new_tokens > 0, refused => receipts, loads, free pages as before",
    without_it="A prefix stays pinned, or a load is queued, for a request that waits on.",
    taught_by="SGLang 27391",
)
def who_is_not_admitted_takes_nothing(step: Step) -> Iterator[Fault]:
    """A candidate that the budget refuses holds nothing, and nothing was loaded or evicted for it.

    Its match may have split a node and refreshed its path.
    """
    before, after = step.before, step.after
    if not after.config.max_new_tokens or not is_refused(step):
        return
    if [(r.tier, r.owner, r.name) for r in before.receipts] != [
        (r.tier, r.owner, r.name) for r in after.receipts
    ]:
        yield Fault("locks were taken or given back")
    if [t.id for t in before.loads] != [t.id for t in after.loads]:
        yield Fault("a load was queued for it")
    for name, pool in before.pools.items():
        if pool.free_pages != after.pools[name].free_pages:
            yield Fault(f"the free list of {name} changed")


@step_invariant(
    "S-scheduler-4",
    op.Admit,
    op.Proceed,
    op.Prefill,
    formula="max_new_tokens > 0, refused => another request runs, or somebody else holds a lock, or"
    " prompt, output, load and two windows, each with two pages to spare, do not fit the pools",
    without_it="The server is idle and its only request waits for ever.",
    taught_by="a budget that counts what a request holds itself",
)
def who_is_alone_is_admitted(step: Step) -> Iterator[Fault]:
    """Where nobody else runs or holds anything, a request that fits the pools goes on."""
    before, o = step.before, step.operation
    assert isinstance(o, op.Admit | op.Proceed | op.Prefill)
    if not before.config.max_new_tokens or not is_refused(step) or before.writes or before.loads:
        return
    if any((r.owner, r.name) != ("request", o.request) for r in before.receipts):
        return
    if any(r.name != o.request or r.granted for r in before.requests):
        return
    prompt = _prompt(before, o)
    if _ample(before, prompt):
        yield Fault(f"{o.request} with {prompt} tokens was refused: {step.outcome.reason}")


def _prompt(view: View, o: op.Admit | op.Proceed | op.Prefill) -> int:
    """Tokens of the prompt that an operation speaks of."""
    if isinstance(o, op.Admit):
        return len(o.tokens)
    known = [len(c.tokens) for c in view.candidates if c.name == o.request]
    return (known or [r.prompt_len for r in view.requests if r.name == o.request] or [0])[0]


def _ample(view: View, prompt: int) -> bool:
    """Room in pools that are otherwise empty, however a budget may count."""
    config, page = view.config, view.config.page_size
    whole = whole_pages(prompt + config.max_new_tokens, page)
    if config.full_slots <= whole + 2 * page:
        return False
    if not config.has_swa:
        return True
    chunk = min(prompt, config.chunked_prefill_size or prompt)
    windows = 2 * whole_pages(config.sliding_window + page, page)
    return config.swa_slots > whole_pages(chunk + config.max_new_tokens, page) + windows + 2 * page
