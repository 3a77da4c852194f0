"""Exploration: nothing is left out, nothing is merged that differs, and what is wrong is found."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.node import Node
from radixproof.impl.torch_cache.subject import TorchSubject, open_torch
from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.outcome import Status
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.choose import RandomChooser
from radixproof.stateful_tests.enabled import GENERATORS, Situation
from radixproof.stateful_tests.explore import memory, search
from radixproof.stateful_tests.explore.canonical import digest
from radixproof.stateful_tests.explore.copies import freeze, thaw
from radixproof.stateful_tests.explore.errors import (
    CopyDiffers,
    NotCopyable,
    StoreError,
    WorkerDied,
)
from radixproof.stateful_tests.explore.expansion import Expander
from radixproof.stateful_tests.explore.operations import universe, within
from radixproof.stateful_tests.explore.scope import EVERYTHING, SCOPES, Scope, bounded
from radixproof.stateful_tests.explore.search import explore
from radixproof.stateful_tests.explore.shortest import IN_NO_SCOPE, SHOWN_IN, shortest
from radixproof.stateful_tests.explore.states import States
from radixproof.stateful_tests.explore.store import Progress, Store
from radixproof.stateful_tests.tests.runs import observed_steps
from radixproof.stateful_tests.variants import VARIANTS

CONFIG = CacheConfig(
    sliding_window=1, full_slots=2, swa_slots=2, host_full_slots=1, host_swa_slots=1
)
MINI = replace(SCOPES["tiny"], name="mini", config=CONFIG, requests=0)
"""Sixty states with splits, transfers and refusals."""
WIDE = Scope(
    "wide",
    replace(CONFIG, full_slots=3, swa_slots=3, host_full_slots=2, host_swa_slots=2),
    longest=3,
    decoded=3,
    requests=3,
    holders=3,
    failures=2,
    amounts=(*range(4), EVERYTHING),
    limits=(None, 0, 1, 2),
    quotas=(None, *range(4)),
    chunked=(False, True),
    priorities=(0, 1),
)
"""Every argument that the generators know, as long as keys are short and numbers small."""


def model_of(scope: Scope, *operations: op.Operation) -> ReferenceModel:
    model = ReferenceModel(scope.config)
    for operation in operations:
        model.apply(operation)
    return model


def legal(scope: Scope, model: ReferenceModel) -> list[op.Operation]:
    """The edges of a state as the explorer sees them."""
    frozen, state, found = freeze(model), model.snapshot(), []
    copy = thaw(frozen)
    for operation in universe(scope):
        if within(scope, state, operation) and copy.apply(operation).status is not Status.ERROR:
            found.append(operation)
            copy = thaw(frozen)
    return found


# Nothing is left out


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


# Nothing is merged that differs


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


# Copies


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


# The same counts, whoever counts


def test_counts_do_not_depend_on_the_number_of_processes() -> None:
    alone, together = explore(MINI, open_torch, jobs=1), explore(MINI, open_torch, jobs=3)
    assert replace(alone.progress, seconds=0) == replace(together.progress, seconds=0)
    assert alone.states == together.states


def test_a_scope_that_the_canonical_form_would_get_wrong_is_refused() -> None:
    with pytest.raises(ConfigError, match="fifo"):
        replace(MINI, config=replace(MINI.config, eviction_policy="fifo"))
    with pytest.raises(ConfigError, match="bigram"):
        replace(MINI, config=replace(MINI.config, bigram=True))


def test_an_exploration_is_gone_on_with(tmp_path: Path) -> None:
    whole = explore(MINI, open_torch)
    for limit in (20, 45, None):
        part = explore(MINI, open_torch, store=Store(tmp_path, MINI, "torch"), limit=limit)
        assert part.exhausted == (limit is None)
        assert part.progress.expanded == (limit or whole.states)
    assert replace(part.progress, seconds=0) == replace(whole.progress, seconds=0)


def test_what_was_written_after_the_last_save_does_not_count(tmp_path: Path) -> None:
    """A run that was killed between two columns."""
    explore(MINI, ReferenceModel, store=Store(tmp_path, MINI, "model"), limit=30)
    for column in ("digests", "parents"):
        with (tmp_path / column).open("ab") as file:
            file.write(b"torn")
    report = explore(MINI, ReferenceModel, store=Store(tmp_path, MINI, "model"))
    assert report.states == explore(MINI, ReferenceModel).states


def test_another_exploration_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    explore(MINI, ReferenceModel, store=Store(mine, MINI, "model"), limit=5)
    with pytest.raises(StoreError, match="another subject"):
        Store(mine, MINI, "torch")
    with pytest.raises(StoreError, match="another scope"):
        Store(mine, replace(MINI, longest=3), "model")
    (tmp_path / "letter").write_text("hello", encoding="utf-8")
    with pytest.raises(StoreError, match="not empty"):
        Store(tmp_path, MINI, "model")


@pytest.mark.parametrize("name", ["progress.json", "exploration.json"])
def test_a_damaged_store_is_refused(tmp_path: Path, name: str) -> None:
    explore(MINI, ReferenceModel, store=Store(tmp_path, MINI, "model"), limit=5)
    (tmp_path / name).write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path, MINI, "model").load()


# What is wrong is found


def test_the_shortest_counterexample_of_the_skipped_backup() -> None:
    found = explore(SCOPES["tiny"], VARIANTS["M-1"].open, jobs=2).counterexample
    assert found is not None
    assert "hits-at-the-threshold-are-backed-up" in found.slugs
    assert found.trace.operations == (op.Insert((1, 1)),)


@pytest.mark.parametrize(
    ("id", "operations", "slug"),
    [
        ("M-3", 1, "pending-writes-keep-their-source"),
        ("M-4", 3, "device-slots-have-one-owner"),
        ("M-7", 4, "swa-data-needs-full-data"),
        ("M-20", 4, "free-slots-are-unmapped"),
        ("M-23", 4, "host-eviction-takes-only-what-is-host-only"),
    ],
)
def test_the_shortest_counterexamples(id: str, operations: int, slug: str) -> None:
    """How many operations it takes to show a wrong rule; no search is luckier."""
    found = explore(SCOPES["tiny"], VARIANTS[id].open).counterexample
    assert found is not None
    assert len(found.trace.operations) == operations
    assert slug in found.slugs


def test_what_is_said_of_variants_is_of_variants() -> None:
    assert {*SHOWN_IN, *IN_NO_SCOPE} <= set(VARIANTS)
    assert not set(SHOWN_IN) & set(IN_NO_SCOPE)


SHORT = {
    "M-1c": 2, "M-1e": 2, "M-2": 2, "M-6": 2, "M-8": 2, "M-10": 2, "M-17": 2, "M-25": 2,
    "M-27": 2, "M-28": 1, "M-32": 1, "M-41": 2, "M-45": 1, "M-48": 1, "M-52": 1, "M-60": 1,
}  # fmt: skip
"""Variant -> operations of its shortest counterexample; those that few states show."""


SEEN_BY_AGREEMENT_FIRST = {"M-15", "M-21", "M-64", "M-76"}
"""In so few operations the state differs from the specification's and breaks nothing by itself."""


@pytest.mark.parametrize(
    "id",
    [pytest.param(id, marks=() if id in SHORT else pytest.mark.nightly) for id in SHOWN_IN],
)
def test_a_variant_shows_in_its_scope(id: str) -> None:
    found = shortest(id)
    assert found.counterexample is not None
    named = set(found.slugs) & set(VARIANTS[id].caught_by)
    assert named or id in SEEN_BY_AGREEMENT_FIRST
    if id in SHORT:
        assert len(found.counterexample.trace.operations) == SHORT[id]


def test_the_counterexample_does_not_depend_on_the_number_of_processes() -> None:
    found = [explore(MINI, VARIANTS["M-3"].open, jobs=jobs).counterexample for jobs in (1, 3)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].trace == found[1].trace


class RemembersItsAddress(TorchCache):
    """What a copy cannot be right about: a decision by object identity."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.self_id = id(self)

    def _count_hit(self, node: Node, chunked: bool) -> None:
        super()._count_hit(node, chunked or id(self) != self.self_id)


def test_what_only_a_copy_shows_is_no_counterexample() -> None:
    def open_it(config: CacheConfig) -> TorchSubject:
        return open_torch(config, cache_class=RemembersItsAddress)

    with pytest.raises(CopyDiffers):
        explore(MINI, open_it)


class Unique(TorchCache):
    """Holds something that has no bytes."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.decide = lambda: True


def test_a_subject_that_cannot_be_copied_is_told_in_one_line() -> None:
    with pytest.raises(NotCopyable, match="torch cannot be explored"):
        explore(MINI, lambda config: open_torch(config, cache_class=Unique))


class Fatal(TorchCache):
    """Ends its process at the first eviction."""

    def _evict(self, wanted: Mapping[str, int]) -> Counter[str]:
        os._exit(9)


def test_a_process_that_dies_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied):
        explore(
            MINI,
            lambda config: open_torch(config, cache_class=Fatal),
            jobs=2,
            store=Store(tmp_path, MINI, "fatal"),
        )
    states, _ = Store(tmp_path, MINI, "fatal").load()
    assert len(states) >= 1


def test_an_interrupt_keeps_what_was_done(tmp_path: Path) -> None:
    seen = 0

    def interrupt(states: States, progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise KeyboardInterrupt

    store = Store(tmp_path, MINI, "torch")
    assert explore(MINI, open_torch, store=store, watch=interrupt).interrupted
    report = explore(MINI, open_torch, store=Store(tmp_path, MINI, "torch"))
    whole = explore(MINI, open_torch)
    assert replace(report.progress, seconds=0) == replace(whole.progress, seconds=0)


def test_memory_that_is_used_up_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run may take so much that it expands a few batches; together they are one run."""
    taken = 0

    def resident() -> int:
        nonlocal taken
        taken += 1
        return 1000 * taken

    monkeypatch.setattr(search, "resident", resident)
    runs: list[search.Report] = []
    while not runs or runs[-1].full:
        taken = 0
        store = Store(tmp_path, MINI, "model")
        runs.append(explore(MINI, ReferenceModel, store=store, memory=3500))
    assert len(runs) > 2
    whole = explore(MINI, ReferenceModel)
    assert runs[-1].exhausted
    assert replace(runs[-1].progress, seconds=0) == replace(whole.progress, seconds=0)


def test_memory_is_that_of_all_processes() -> None:
    alone = memory.resident()
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(int, ("1",)) == 1
        assert memory.resident() > alone
    assert alone > 10 * memory.MEGABYTE


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
