"""Leaf sets and recency lists are exact (domain.md 7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from radixproof.invariants.catalogue import WITH_HOST, WITH_SWA, state_invariant
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault


def is_device_leaf(view: View, i: int) -> bool:
    """Device-resident, unlocked, no child device-resident (domain.md 2)."""
    n = view.nodes[i]
    return (
        n.full.device is not None
        and n.full.lock == 0
        and (n.swa is None or n.swa.lock == 0)
        and all(view.nodes[c].full.device is None for c in view.children.get(i, ()))
    )


def is_host_leaf(view: View, i: int) -> bool:
    """Evicted, backed up, childless, unlocked on both tiers (domain.md 2)."""
    n = view.nodes[i]
    locks = [p for p in (n.full, n.swa) if p is not None]
    return (
        n.full.device is None
        and n.full.host is not None
        and not view.children.get(i)
        and not any(p.lock or p.host_lock for p in locks)
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
    wanted = [i for i, n in enumerate(view.nodes) if n.swa is not None and n.swa.device is not None]
    yield from _differences(view, view.lru.get("swa", ()), wanted, "the SWA recency list")


@state_invariant(
    "I-19",
    formula="set(hlru[SWA]) = {n : not n.SWA.device, n.SWA.host, n.SWA.hlock = 0}, each once",
    without_it="Host-only SWA that is missing is never reclaimed; what is listed wrongly is lost.",
    taught_by="M-18, M-35",
    holds_under=WITH_HOST,
)
def swa_host_list_is_exact(view: View) -> Iterator[Fault]:
    """The SWA host list holds exactly the nodes whose SWA is on host only and not host-locked."""
    wanted = [
        i
        for i, n in enumerate(view.nodes)
        if n.swa is not None
        and n.swa.device is None
        and n.swa.host is not None
        and n.swa.host_lock == 0
    ]
    yield from _differences(view, view.host_lru.get("swa", ()), wanted, "the SWA host list")


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
