"""KV events of a release: told as prefixes, one number each; and replayed against what is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.events import EventLog
from radixproof.impl.sglang.page_hash import page_hash
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.model import operations as op
from radixproof.model.blocks import CPU, GPU, REMOVED, STORED, blocks
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.trace import Trace
from radixproof.model.units import units
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import broken_copy

WRITE = (op.Execute(op.WRITE), op.Observe(op.WRITE))
BACKED_UP = (op.Insert((1, 2, 3, 4)), op.Match((1, 2)), *WRITE)
"""A backup whose node is split before it is acknowledged."""
THROUGH_ALL_TIERS = (
    *BACKED_UP,
    op.Evict(full=4),
    op.LoadBack((1, 2, 3, 4)),
    op.StartLoading(),
    op.Execute(op.LOAD),
    op.Observe(op.LOAD),
    op.Evict(full=4),
    op.EvictHost(4),
    op.Insert((1, 2)),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE),
    op.Reset(),
)


def telling(*components: str, bigram: bool = False) -> CacheConfig:
    return CacheConfig(
        components=components,
        sliding_window=8,
        host_full_slots=33,
        host_swa_slots=33,
        kv_events=True,
        bigram=bigram,
    )


@pytest.fixture(scope="module")
def release() -> Iterator[ReleaseProcess]:
    with start("sglang==0.5.13", PYTHON, {}) as running:
        yield running


@pytest.mark.parametrize("bigram", [False, True], ids=["tokens", "pairs"])
@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_release_tells_what_is_where(
    release: ReleaseProcess, components: tuple[str, ...], bigram: bool
) -> None:
    longer = (5,) if bigram else ()
    operations = tuple(_with(o, longer) for o in THROUGH_ALL_TIERS)
    coverage = Coverage()
    trace = Trace(telling(*components, bigram=bigram), operations)
    assert replay_on(release, trace, coverage=coverage) is None
    assert coverage.steps == len(operations)
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


def _with(operation: op.Operation, more: tuple[int, ...]) -> op.Operation:
    """One more token, so that there are as many pairs as tokens were."""
    match operation:
        case op.Insert(tokens=tokens):
            return op.Insert((*tokens, *more))
        case op.Match(tokens=tokens):
            return op.Match((*tokens, *((3,) if more else ())))
        case op.LoadBack(tokens=tokens):
            return op.LoadBack((*tokens, *more))
        case _:
            return operation


def test_namespaces_are_not_compared(release: ReleaseProcess) -> None:
    """The release's numbers do not tell them apart (U-17): such a use is not judged."""
    coverage = Coverage()
    trace = Trace(telling(FULL), (op.Insert((1, 2), "x"),))
    assert replay_on(release, trace, coverage=coverage) is None
    assert coverage.outcomes["insert", "E_ARG"] == 1


SILENT_ABOUT_THE_HOST = """
    def _record_store_event(self, node, medium=None):
        if medium is not StorageMedium.CPU:
            super()._record_store_event(node, medium)
"""
OTHER_NUMBERS_LATER = """
    def _record_remove_event(self, node, medium=None):
        node.hash_value = [h[::-1] for h in node.hash_value]
        super()._record_remove_event(node, medium)
"""
CHILDREN_FIRST = """
    def take_events(self):
        return super().take_events()[::-1]
"""


@pytest.mark.parametrize(
    ("body", "operations", "caught"),
    [
        (SILENT_ABOUT_THE_HOST, BACKED_UP, "events-tell-what-is-resident"),
        (OTHER_NUMBERS_LATER, (*BACKED_UP, op.Evict(full=4)), "events-tell-what-is-resident"),
        (CHILDREN_FIRST, (op.Insert((1, 2)),), "stored-blocks-have-their-parents"),
    ],
    ids=["silent about the host", "other numbers later", "children first"],
)
def test_a_release_that_tells_something_else_is_caught(
    body: str, operations: tuple[op.Operation, ...], caught: str, tmp_path: Path
) -> None:
    root = broken_copy(fetch("0.5.13"), tmp_path, body)
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = replay_on(broken, Trace(telling(FULL), operations))
    assert found is not None
    assert caught in found.slugs
    assert found.step == len(operations) - 1


@dataclass
class BlockStored:
    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[Any]
    medium: str = "GPU"


@dataclass
class BlockRemoved:
    block_hashes: list[int]
    medium: str = "GPU"


@dataclass
class Teller:
    """A tree that tells what it is given."""

    events: list[Any] = field(default_factory=list)

    def take_events(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken


def test_a_prefix_keeps_its_number() -> None:
    tree = Teller()
    log = EventLog(tree, 1, enabled=True)
    tree.events = [BlockStored([10, 20], None, [1, 2]), BlockRemoved([10, 20])]
    log.take()
    first, second = blocks("", (1, 2), 1)
    told = [(e.kind, e.medium, e.block, e.parent) for e in log.last]
    assert told == [
        (STORED, GPU, first, None),
        (STORED, GPU, second, first),
        (REMOVED, GPU, second, None),
        (REMOVED, GPU, first, None),
    ]
    tree.events = [BlockStored([11], None, [1]), BlockStored([20], None, [7], "CPU_PINNED")]
    log.take()
    assert [(e.medium, e.block) for e in log.last] == [(GPU, 11), (CPU, 20)]


def test_what_nobody_told_of_stands_for_nothing() -> None:
    tree = Teller()
    log = EventLog(tree, 1, enabled=True)
    tree.events = [BlockStored([30], 29, [3]), BlockRemoved([31])]
    log.take()
    assert [(e.block, e.parent) for e in log.last] == [(30, 29), (31, None)]


@pytest.mark.parametrize("page_size", [1, 2])
@pytest.mark.parametrize("bigram", [False, True])
def test_the_stand_in_hashes_as_the_specification_does(page_size: int, bigram: bool) -> None:
    tokens = (1, 2, 3, 4, 5)
    key: Any = tuple(pairwise(tokens)) if bigram else tokens[:4]
    digests = page_hash(key, None, page_size)
    numbers = tuple(int.from_bytes(bytes.fromhex(d)[:8], "big", signed=True) for d in digests)
    assert numbers == blocks("", units(tokens, bigram)[:4], page_size)
    assert page_hash((1,), b"before") == sha256(b"before" + (1).to_bytes(4, "little")).hexdigest()
