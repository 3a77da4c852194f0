"""How a request comes in: it waits on its device prefix, then it is admitted (domain.md 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

from radixproof.model.config import FULL, MAMBA
from radixproof.model.load_back import load_back
from radixproof.model.locking import lock, unlock
from radixproof.model.matching import (
    MatchResult,
    host_hit,
    host_only,
    last_valid,
    match,
    prefix_slots,
    swa_host_hit,
)
from radixproof.model.state import Candidate, Request, State
from radixproof.model.state_slots import prepare_state, take_state_slot
from radixproof.model.tree import Page
from radixproof.model.units import units


@dataclass(frozen=True, slots=True)
class Admission:
    """``request`` is ``None`` where no state slot could be had: it does not run."""

    request: Request | None
    loaded: bool = False


def prepare(
    state: State, name: str, namespace: str, tokens: tuple[int, ...], priority: int
) -> MatchResult:
    """Match all tokens but the last, so that one is always computed; lock what is on the device.

    Nothing protects what is on the host only: it may be gone when the request is admitted.
    """
    found = match(state, namespace, units(tokens[:-1], state.config.bigram))
    node = found.last_device_node
    receipt = lock(state, node, "request", name)
    best = len(found.best_match_node.tokens)
    state.candidates[name] = Candidate(name, namespace, tokens, priority, node, receipt, best)
    return found


def proceed(
    state: State, candidate: Candidate, *, may_load: bool, mem_quota: int | None
) -> Admission:
    """Load what is on the host, if it still is; lock the end of the usable prefix and run."""
    node, load = candidate.last_node, None
    best = best_match_now(state, candidate)
    own = take_state_slot(state, best) if state.config.has_mamba else None
    if state.config.has_mamba and own is None:
        return Admission(None)
    if may_load and needs_loading(state, node, best):
        load = load_back(state, best, mem_quota, own)
        node = best if load else node
    receipt = lock(state, node, "request", candidate.name)
    drop(state, candidate)
    request = Request(
        name=candidate.name,
        namespace=candidate.namespace,
        tokens=candidate.tokens,
        priority=candidate.priority,
        prompt_len=len(candidate.tokens),
        row=list(prefix_slots(state, node)),
        last_node=node,
        receipt=receipt,
        protected=len(node.tokens),
        committed=len(node.tokens),
        state_slot=own,
    )
    if own is not None and not (load and own in load.moves[MAMBA][0]):
        prepare_state(state, request, node)
    state.requests[request.name] = request
    return Admission(request, load is not None)


def drop(state: State, candidate: Candidate) -> None:
    """A request stops waiting: its lock on the device prefix ends."""
    unlock(state, candidate.receipt)
    del state.candidates[candidate.name]


def best_match_now(state: State, candidate: Candidate) -> Page:
    """The best match that was found, where it is still one; else the device prefix."""
    key = units(candidate.tokens, state.config.bigram)[: candidate.best_match]
    node = state.tree.find(candidate.namespace, key)
    if node is None or node is state.tree.root:
        return candidate.last_node
    tiers = ["", "host_"] if state.config.has_host else [""]
    still_valid = last_valid(state, state.tree.path(node), tiers) is node
    return node if still_valid else candidate.last_node


def needs_loading(state: State, device: Page, best: Page) -> bool:
    """Something of the best match is on host only (6.8.2)."""
    if best is state.tree.root:
        return False
    hits = host_hit(state, device, best) + swa_host_hit(state, best)
    return FULL not in best.held or hits > 0 or host_only(best, MAMBA)
