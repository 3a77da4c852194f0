"""Leaf sets and recency lists are exact (domain.md 7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, WITH_MAMBA, WITH_SWA, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model.config import MAMBA, SWA
from radixproof.model.options import LISTS_LOCKED_HOST


def is_device_leaf(view: View, i: int) -> bool:
    """Device-resident, unlocked, no child device-resident (domain.md 2)."""
    n = view.nodes[i]
    return (
        n.full.device is not None
        and not any(p.lock for p in n.placements)
        and all(view.nodes[c].full.device is None for c in view.children.get(i, ()))
    )


def is_host_leaf(view: View, i: int) -> bool:
    """Evicted, backed up, childless, unlocked on both tiers (domain.md 2)."""
    n = view.nodes[i]
    return (
        n.full.device is None
        and n.full.host is not None
        and not view.children.get(i)
        and not any(p.lock or p.host_lock for p in n.placements)
    )


@state_invariant(
    "I-16",
    formula="device_leaves = {n : D-leaf(n)}",
    without_it="A missing member is memory never freed; an extra one makes eviction assert.",
    taught_by="M-12, M-15",
)
def device_leaf_set_is_exact(view: View) -> Iterator[Fault]:
    """The device leaf set holds exactly the device leaves."""
    yield from _differences(
        view,
        view.device_leaves,
        [i for i in range(len(view.nodes)) if is_device_leaf(view, i)],
        "the device leaf set",
    )


@state_invariant(
    "I-17",
    formula="host_leaves = {n : H-leaf(n)}",
    without_it="A missing member is host memory lost for ever; a stale one is freed twice.",
    taught_by="M-30, M-34",
    holds_under=WITH_HOST,
)
def host_leaf_set_is_exact(view: View) -> Iterator[Fault]:
    """The host leaf set holds exactly the host leaves."""
    yield from _differences(
        view,
        view.host_leaves,
        [i for i in range(len(view.nodes)) if is_host_leaf(view, i)],
        "the host leaf set",
    )


@state_invariant(
    "I-18",
    formula="set(dlru[SWA]) = {n : n.SWA.device}, each once",
    without_it="SWA eviction finds its victims only there.",
    taught_by="M-18",
    holds_under=WITH_SWA,
)
def swa_list_is_exact(view: View) -> Iterator[Fault]:
    """The SWA recency list holds exactly the nodes with SWA on device, once each."""
    yield from _device_list(view, SWA)


@state_invariant(
    "I-18",
    formula="set(dlru[MAMBA]) = {n : n.MAMBA.device}, each once",
    without_it="A state that is not listed occupies one of few slots for ever.",
    taught_by="M-43",
    holds_under=WITH_MAMBA,
)
def mamba_list_is_exact(view: View) -> Iterator[Fault]:
    """The MAMBA recency list holds exactly the nodes with a state on device, once each."""
    yield from _device_list(view, MAMBA)


@state_invariant(
    "I-19",
    formula="set(hlru[SWA]) = {n : not n.SWA.device, n.SWA.host, n.SWA.hlock = 0}, each once",
    without_it="Host-only SWA that is missing is never reclaimed; what is listed wrongly is lost.",
    taught_by="M-18, M-35",
    holds_under=WITH_HOST,
)
def swa_host_list_is_exact(view: View) -> Iterator[Fault]:
    """The SWA host list holds exactly the nodes whose SWA is on host only and not host-locked."""
    yield from _host_list(view, SWA)


@state_invariant(
    "I-19",
    formula="set(hlru[MAMBA]) = {n : not n.MAMBA.device, n.MAMBA.host, n.MAMBA.hlock = 0}, each"
    " once",
    without_it="A host state that is not listed is never reclaimed; one under a copy would be.",
    taught_by="M-18, M-43",
    holds_under=WITH_MAMBA,
)
def mamba_host_list_is_exact(view: View) -> Iterator[Fault]:
    """The MAMBA host list holds exactly the nodes whose state is on host only, not host-locked."""
    yield from _host_list(view, MAMBA)


def _device_list(view: View, component: str) -> Iterator[Fault]:
    placed = [(i, n.placement(component)) for i, n in enumerate(view.nodes)]
    wanted = [i for i, p in placed if p is not None and p.device is not None]
    listed = view.lru.get(component, ())
    yield from _differences(view, listed, wanted, f"the {component} recency list")


def _host_list(view: View, component: str) -> Iterator[Fault]:
    placed = [(i, n.placement(component)) for i, n in enumerate(view.nodes)]
    host_only = [(i, p) for i, p in placed if p and p.device is None and p.host is not None]
    wanted = [i for i, p in host_only if p.host_lock == 0]
    listed = view.host_lru.get(component, ())
    if LISTS_LOCKED_HOST in view.options:
        wanted = [i for i, p in host_only if p.host_lock == 0 or i in listed]
    yield from _differences(view, listed, wanted, f"the {component} host list")


def _differences(
    view: View, found: tuple[int, ...], wanted: list[int], where: str
) -> Iterator[Fault]:
    if sorted(found) == wanted:
        return
    for i in wanted:
        if i not in found:
            yield Fault(f"{where} lacks {view.name(i)}", (i,))
    for i in sorted(set(found)):
        if i not in wanted:
            yield Fault(f"{where} has {view.name(i)}", (i,) if i >= 0 else ())
        elif found.count(i) > 1:
            yield Fault(f"{where} has {view.name(i)} {found.count(i)} times", (i,))
