"""Where a recurrent state goes: donation, forks, copy-on-write (domain.md 6.1, 6.2.7, 6.9)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_MAMBA, Step, step_invariant
from radixproof.invariants.steps.compare import aligned, is_ok
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import COPIES_STATES_AT_ONCE
from radixproof.model.snapshot import Request


def _request(view: View, name: str) -> Request | None:
    return next((r for r in view.requests if r.name == name), None)


def _has_state(view: View, namespace: str, tokens: tuple[int, ...]) -> bool:
    """Whether a node spells ``tokens`` and has their state on device."""
    i = view.find(namespace, tokens)
    state = view.nodes[i].mamba if i is not None else None
    return state is not None and state.device is not None


@step_invariant(
    "S-insert-8",
    op.Insert,
    formula="ok => state_taken = 1 iff the key's node has a state after and had none before; a key"
    " that is spelled after has one",
    without_it="The caller frees its slot or forgets it by this number: twice, or never.",
    taught_by="M-45, SGLang 29351 (U-12)",
    holds_under=WITH_MAMBA,
)
def an_insert_says_who_owns_the_state(step: Step) -> Iterator[Fault]:
    """A state that was handed in is the tree's exactly if the tree had none for that prefix."""
    if not is_ok(step) or not step.before.config.has_mamba:
        return
    assert isinstance(step.operation, op.Insert)
    o = step.operation
    key = aligned(step.after, o.tokens)
    had, has = (_has_state(view, o.namespace, key) for view in (step.before, step.after))
    if step.outcome.values.get("state_taken") != int(has and not had):
        yield Fault(
            f"state_taken is {step.outcome.values.get('state_taken')}, had {had}, has {has}"
        )
    if step.after.find(o.namespace, key) is not None and not has:
        yield Fault("the inserted key has no state")


@step_invariant(
    "S-prefill-4",
    op.Prefill,
    op.Finish,
    formula="ok => the node that ends the computed tokens has their state on device (with a"
    " tracking buffer S-track-1)",
    without_it="The next turn finds the KV and cannot use it: the whole prompt is computed again.",
    taught_by="M-45",
    holds_under=WITH_MAMBA,
)
def the_state_of_what_was_computed_is_cached(step: Step) -> Iterator[Fault]:
    """When a chunk or a request is cached, its state is in the tree with it."""
    if not is_ok(step) or not step.before.config.has_mamba:
        return
    o = step.operation
    assert isinstance(o, op.Prefill | op.Finish)
    r = _request(step.before, o.request)
    if r is None or step.before.config.disable or step.before.config.tracks_states:
        return
    done = r.committed + (o.count if isinstance(o, op.Prefill) else 0)
    if not _has_state(step.after, r.namespace, r.tokens[:done]):
        yield Fault(f"no node has the state of the {done} tokens that {r.name} computed")


@step_invariant(
    "S-admit-4",
    op.Admit,
    op.Proceed,
    formula="ok => the new request's state slot is free before, and exactly one of: it is zeroed"
    " (nothing usable); copied from its last node's state; filled by a load of this step",
    without_it="It would compute on a slot of the tree, or go on from nothing.",
    taught_by="M-37, SGLang 30986 (U-8)",
    holds_under=WITH_MAMBA,
)
def an_admitted_request_gets_its_prefixs_state(step: Step) -> Iterator[Fault]:
    """A new request has a state slot of its own, to be filled with the state of its prefix."""
    if not is_ok(step) or not step.before.config.has_mamba:
        return
    assert isinstance(step.operation, op.Admit | op.Proceed)
    r = _request(step.after, step.operation.request)
    if r is None:
        return
    nodes = step.after.nodes
    last = nodes[r.last_node].mamba if r.last_node >= 0 else None
    held = last.device if last is not None else None
    known = {t.id for t in step.before.loads}
    new = [m for t in step.after.loads if t.id not in known for m in t.moves]
    filled = any(m.component == "mamba" and r.state_slot in m.device for m in new)
    copied = r.state_source is not None and held == (r.state_source,)
    if COPIES_STATES_AT_ONCE in step.after.options:
        copied = held is not None and r.state_slot is not None and not filled
    zeroed = r.zero_state and not r.protected
    if [filled, copied, zeroed].count(True) != 1:
        yield Fault(f"request {r.name}: filled {filled}, copied {copied}, zeroed {zeroed}")
    if (r.state_source is not None and not copied) or r.zero_state != zeroed:
        yield Fault(f"request {r.name} starts from slot {r.state_source}, zero {r.zero_state}")


@step_invariant(
    "S-prefill-5",
    op.Prefill,
    op.Decode,
    formula="ok => after a forward pass nothing is outstanding on the request's state slot",
    without_it="The next chunk would start from the state of the prefix it began with.",
    taught_by="M-46",
    holds_under=WITH_MAMBA,
)
def a_forward_pass_settles_the_state(step: Step) -> Iterator[Fault]:
    """Copy-on-write and zeroing happen once, before the first forward pass."""
    if not is_ok(step) or not step.before.config.has_mamba:
        return
    assert isinstance(step.operation, op.Prefill | op.Decode)
    r = _request(step.after, step.operation.request)
    if r is not None and (r.state_source is not None or r.zero_state):
        yield Fault(f"request {r.name} would copy or zero its state again")
