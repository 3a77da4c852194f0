"""Exploration in parts and in several processes: the same counts, and nothing is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.reference import ReferenceModel
from radixproof.stateful_tests.explore import memory, search
from radixproof.stateful_tests.explore.errors import (
    StoreError,
    WorkerDied,
)
from radixproof.stateful_tests.explore.search import explore
from radixproof.stateful_tests.explore.states import States
from radixproof.stateful_tests.explore.store import Progress, Store
from radixproof.stateful_tests.tests.mini import MINI


def test_counts_do_not_depend_on_the_number_of_processes() -> None:
    alone, together = explore(MINI, open_torch, jobs=1), explore(MINI, open_torch, jobs=3)
    assert replace(alone.progress, seconds=0) == replace(together.progress, seconds=0)
    assert alone.states == together.states


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
