"""Explicit-state searches side by side: ours over whole frontiers, ours the readable way, SPIN."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.stateful_tests.explore.residency import projection, promela, vectorised
from radixproof.stateful_tests.explore.residency.plain import Count, reachable
from radixproof.stateful_tests.explore.residency.relation import Residency
from radixproof.stateful_tests.explore.scope import SCOPES
from radixproof.stateful_tests.explore.search import explore

RELATION = Residency((*Residency.complete(2, 2).prefixes, (3,), (3, 1)))
"""Eight prefixes, 41 bits, 490,050 states."""
FULL_MODEL_STATES = 150
"""States of scope tiny that the full model and the torch cache are measured on."""

SHARED = (1, 3)
"""Alphabet and longest key of the scope on which the full model is counted, too."""

Found = tuple[int, int]
"""States and transitions."""


class CountsDiffer(AssertionError):
    """Programs that search one relation disagree on what there is."""


def run(rounds: int = 3, relation: Residency = RELATION) -> dict[str, Any]:
    """Alternate the programs; equal counts are required, medians of the rates reported.

    Raises ``SpinError`` without SPIN, ``CountsDiffer`` where the counts are not all the same.
    """
    promela.require_spin()
    programs: dict[str, Callable[[], tuple[Found, float]]] = {
        "vectorised": lambda: _timed(lambda: vectorised.search(relation)),
        "spin": lambda: _spin(relation),
        "plain": lambda: _timed(lambda: reachable(relation)[1]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    found: dict[str, Found] = {}
    for _ in range(rounds):
        for name, program in programs.items():
            found[name], spent = program()
            seconds[name].append(spent)
            if found[name] != found["vectorised"]:
                raise CountsDiffer(f"states and transitions found: {found}")
    shared = _shared(*SHARED)
    states, transitions = found["vectorised"]
    rates = {name: states / median(spent) for name, spent in seconds.items()}
    full = explore(SCOPES["tiny"], open_torch, limit=FULL_MODEL_STATES).progress
    rates["full model and torch cache"] = full.expanded / full.seconds
    return {
        "benchmark": "explore",
        "bits": len(relation.bits) + 1,
        "rules": len(relation.rules),
        "shared_scope": shared,
        "states": states,
        "transitions": transitions,
        "ratio_to_spin": {name: rate / rates["spin"] for name, rate in rates.items()},
        "timing": {
            "states_per_second": rates,
            "edges_per_second": {"full model and torch cache": full.edges / full.seconds},
            "rounds": seconds,
        },
    }


def _shared(alphabet: int, longest: int) -> dict[str, int]:
    """What the full model reaches, through the abstraction, and what the programs count."""
    relation = Residency.complete(alphabet, longest)
    projected = projection.project(alphabet, longest)
    states = {
        "images of the full model": len(projected.states),
        "plain": reachable(relation)[1].states,
        "vectorised": vectorised.search(relation).states,
        "spin": promela.count(relation).states,
    }
    if len(set(states.values())) > 1 or projected.strays:
        raise CountsDiffer(f"states: {states}; edges that are no step: {len(projected.strays)}")
    return {"states": states["spin"], "edges of the full model": projected.edges}


def _timed(search: Callable[[], Count]) -> tuple[Found, float]:
    begin = perf_counter()
    count = search()
    if count.broken:
        raise CountsDiffer(f"a reachable state violates {', '.join(count.broken)}")
    return (count.states, count.transitions), perf_counter() - begin


def _spin(relation: Residency) -> tuple[Found, float]:
    """The time of ``pan`` alone; it counts the step into the initial state as a transition."""
    count = promela.count(relation)
    if count.errors:
        raise CountsDiffer(f"SPIN finds {count.errors} violated assertions")
    return (count.states, count.transitions - 1), count.seconds
