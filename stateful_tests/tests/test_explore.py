"""Exploration: nothing is left out, and nothing is merged that differs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model import operations as op
from radixproof.model.config import FULL
from radixproof.model.errors import ConfigError
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.enabled import GENERATORS, Situation
from radixproof.stateful_tests.explore.canonical import digest
from radixproof.stateful_tests.explore.copies import freeze, thaw
from radixproof.stateful_tests.explore.expansion import Expander
from radixproof.stateful_tests.explore.operations import universe
from radixproof.stateful_tests.explore.scope import SCOPES, Scope, bounded
from radixproof.stateful_tests.explore.search import explore
from radixproof.stateful_tests.tests.mini import CONFIG, MINI, WIDE, legal, model_of
from radixproof.stateful_tests.tests.runs import observed_steps


def test_what_generators_draw_within_the_bounds_is_enumerated() -> None:
    """Random walks through the scope; in each state every generator draws again and again."""
    choose = RandomChooser(Random(1))
    drawn: set[str] = set()
    for step in range(160):
        if step % 40 == 0:
            model = ReferenceModel(WIDE.config)
        situation = Situation(model.snapshot(), longest=WIDE.longest)
        edges = legal(WIDE, model)
        for name, generate in GENERATORS.items():
            for _ in range(8):
                operation = generate(situation, choose)
                if operation is not None and is_short(operation, model):
                    assert operation in edges
                    drawn.add(name)
        kind = choose.pick(list(dict.fromkeys(type(o) for o in edges)))
        model.apply(choose.pick([o for o in edges if type(o) is kind]))
    assert drawn == set(op.OPERATIONS)


def is_short(operation: op.Operation, model: ReferenceModel) -> bool:
    """Lengths and numbers, and nothing else, keep a drawn operation out of the scope."""
    tokens = getattr(operation, "tokens", ())
    if (getattr(operation, "mem_quota", None) or 0) > 3:
        return False
    if isinstance(operation, op.Decode):
        before = len(model.state.requests[operation.request].tokens)
        fits = len(tokens) <= WIDE.decoded and before + len(tokens) <= WIDE.longest
        return fits and not operation.ahead  # no scope takes slots for drafts
    if isinstance(operation, op.Evict):
        slots = (WIDE.config.full_slots, WIDE.config.swa_slots)
        return all(
            n <= most for n, most in zip((operation.full, operation.swa), slots, strict=True)
        )
    if isinstance(operation, op.EvictHost):
        return operation.count <= WIDE.config.host_full_slots
    return len(tokens) <= WIDE.longest


def test_every_operation_has_its_place_in_the_universe() -> None:
    names = {op.NAMES[type(o)] for o in universe(WIDE)}
    assert names == set(op.OPERATIONS)
    assert len(set(universe(WIDE))) == len(universe(WIDE))


def test_all_edges_are_run_on_the_subject() -> None:
    """Counted independently: by hand over the states that a plain search of the model reaches."""
    scope = replace(MINI, requests=1)
    report = explore(scope, open_torch, jobs=2)
    states, edges = plain_search(scope)
    assert report.exhausted
    assert (report.states, report.progress.edges) == (states, edges)
    assert report.progress.executed == edges
    assert sum(report.progress.outcomes.values()) == edges


def plain_search(scope: Scope) -> tuple[int, int]:
    """States and edges, by the shortest program that counts them."""
    seen, todo, edges = set(), [ReferenceModel(scope.config)], 0
    seen.add(digest(todo[0].snapshot()))
    while todo:
        model = todo.pop()
        for operation in legal(scope, model):
            edges += 1
            after = thaw(freeze(model))
            after.apply(operation)
            if digest(after.snapshot()) not in seen:
                seen.add(digest(after.snapshot()))
                todo.append(after)
    return len(seen), edges


@pytest.mark.parametrize(
    ("scope", "depth"),
    [
        (replace(MINI, alphabet=2, holders=1), 4),
        (replace(MINI, requests=2), 5),
        (replace(MINI, failures=1, config=replace(CONFIG, components=(FULL,))), 5),
        (replace(MINI, requests=2, operations=tuple(op.OPERATIONS)), 4),
        (replace(SCOPES["mamba"], requests=2), 5),
        (replace(SCOPES["write-back"], alphabet=2), 4),
    ],
    ids=[
        "tokens and holders",
        "requests",
        "failures, FULL alone",
        "waiting",
        "MAMBA",
        "write-back",
    ],
)
def test_merged_states_have_the_same_edges(scope: Scope, depth: int) -> None:
    """Exact states, clocks, hits and ages included, that share a digest: a bisimulation."""
    edges: dict[bytes, set[frozenset[tuple[str, str, bytes]]]] = defaultdict(set)
    exact = {str(ReferenceModel(scope.config).snapshot().canonical())}
    level = [ReferenceModel(scope.config)]
    for _ in range(depth):
        reached = []
        for model in level:
            out = set()
            for operation in legal(scope, model):
                after = thaw(freeze(model))
                kind = after.apply(operation).kind
                state = after.snapshot()
                out.add((op.NAMES[type(operation)], kind, digest(state)))
                if str(state.canonical()) not in exact:
                    exact.add(str(state.canonical()))
                    reached.append(after)
            edges[digest(model.snapshot())].add(frozenset(out))
        level = reached
    assert len(edges) < len(exact) / 2, "the test compares nothing if nothing is merged"
    assert all(len(kinds) == 1 for kinds in edges.values())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([op.Insert((1, 1))], [op.Insert((2, 2))]),
        (
            [op.Admit("r1", (1,)), op.Admit("r2", (2, 2))],
            [op.Admit("r2", (1,)), op.Admit("r1", (2, 2))],
        ),
        ([op.Insert((1,)), op.Lock("a", (1,))], [op.Insert((2,)), op.Lock("b", (2,))]),
        ([op.Insert((1,)), op.Insert((1,))], [op.Insert((1,)), op.Insert((1,)), op.Insert((1,))]),
    ],
    ids=["tokens", "requests", "holders", "hits beyond the threshold"],
)
def test_renamed_states_are_one(left: list[op.Operation], right: list[op.Operation]) -> None:
    states = [model_of(WIDE, *side).snapshot() for side in (left, right)]
    assert digest(states[0]) == digest(states[1])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([op.Insert((1, 1))], [op.Insert((1, 2))]),
        ([op.Insert((1,))], [op.Insert((1,)), op.Execute("write")]),
        ([op.Insert((1,)), op.Insert((2, 1))], [op.Insert((2, 1)), op.Insert((1,))]),
        ([op.Admit("r1", (1, 1))], [op.Admit("r1", (1, 2))]),
        ([op.Insert((1,))], [op.Insert((1,)), op.FailAllocation("swa")]),
        ([op.Insert((1,))], [op.Insert((1,)), op.Lock("a", ())]),
        ([op.Admit("r1", (1, 1))], [op.Prepare("r1", (1, 1))]),
    ],
    ids=["tokens", "executed", "recency", "prompts", "failures", "root locks", "waiting"],
)
def test_different_states_are_two(left: list[op.Operation], right: list[op.Operation]) -> None:
    states = [model_of(WIDE, *side).snapshot() for side in (left, right)]
    assert digest(states[0]) != digest(states[1])


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_goes_on_like_its_original(open_subject: OpenSubject, seed: int) -> None:
    steps = list(observed_steps(seed, 40))
    original = open_subject(steps[0][0].config)
    for _, operation, _, _ in steps[:20]:
        original.apply(operation)
    frozen = freeze(original)
    copies = [thaw(frozen), thaw(frozen)]
    for _, operation, _, _ in steps[20:]:
        expected = original.apply(operation)
        assert copies[0].apply(operation) == expected
        assert copies[0].snapshot() == original.snapshot()
    assert copies[1].snapshot() == thaw(frozen).snapshot(), "copies share something"


def test_a_path_leads_to_the_same_state_from_anywhere() -> None:
    expander = Expander(MINI, open_torch)
    paths = [(), (3,), (3, 7), (3, 7, 1), (4, 7), (3, 7, 2)]
    first = [thaw(expander.reach(path).subject).snapshot() for path in paths]
    again = [
        thaw(Expander(MINI, open_torch).reach(path).subject).snapshot() for path in reversed(paths)
    ]
    assert first == again[::-1]


def test_a_scope_that_the_canonical_form_would_get_wrong_is_refused() -> None:
    with pytest.raises(ConfigError, match="fifo"):
        replace(MINI, config=replace(MINI.config, eviction_policy="fifo"))
    with pytest.raises(ConfigError, match="bigram"):
        replace(MINI, config=replace(MINI.config, bigram=True))


@pytest.mark.parametrize(
    "scope",
    [
        SCOPES["tiny"],
        SCOPES["mamba"],
        bounded(SCOPES["write-back"], {"host": 1}),
        pytest.param(SCOPES["write-back"], marks=pytest.mark.nightly),
        pytest.param(SCOPES["waiting"], marks=pytest.mark.nightly),
    ],
    ids=lambda scope: scope.name,
)
def test_the_torch_cache_conforms_on_every_edge(scope: Scope) -> None:
    report = explore(scope, open_torch, jobs=2)
    assert report.counterexample is None
    assert report.exhausted
    assert report.progress.executed == report.progress.edges > 5_000
