"""Bigram keys of a release: pairs in the tree, and KV that belongs to the token after it too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, fetch
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.payload import kv_tags, prefix_tags, rewritten_from
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess
from radixproof.stateful_tests.tests.broken import broken_copy


def operations(page_size: int) -> tuple[op.Operation, ...]:
    """Where a page has four tokens no node ends at two, and a match of two finds nothing."""
    small = page_size < 4
    lock: tuple[op.Operation, ...] = (op.Lock("a", (1, 2, 3)),) if small else ()
    unlock: tuple[op.Operation, ...] = (op.Unlock("a"),) if small else ()
    return (
        op.Insert((1, 2, 3, 4, 5, 6)),
        op.Match((1, 2, 3, 9, 9)),
        *lock,
        op.Admit("r", (1, 2, 3, 9, 9, 9, 9)),
        op.Prefill("r", 2),
        op.Prefill("r", 3 if small else 5),
        op.Decode("r", (7,)),
        op.Decode("r", (7, 7, 7)),
        *unlock,
        op.Finish("r"),
        op.Match((1, 2, 3, 9, 9, 9, 9, 7, 7, 7, 7, 7)),
        op.Evict(full=16),
    )


@pytest.fixture(scope="module")
def release() -> Iterator[ReleaseProcess]:
    with start("sglang==0.5.23", PYTHON, {}) as running:  # until 0.5.19 a split is a use: 38482
        yield running


def bigram(*components: str, page_size: int) -> CacheConfig:
    return CacheConfig(
        components=components,
        page_size=page_size,
        host_full_slots=0,
        host_swa_slots=0,
        bigram=True,
    )


@pytest.mark.parametrize("page_size", [1, 2, 4])
@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
def test_a_release_keys_pairs(
    release: ReleaseProcess, components: tuple[str, ...], page_size: int
) -> None:
    coverage = Coverage()
    trace = Trace(bigram(*components, page_size=page_size), operations(page_size))
    assert replay_on(release, trace, coverage=coverage) is None
    assert coverage.steps == len(trace.operations)
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


FORGETS_THE_LAST_TOKEN = """
    def insert(self, params):
        tokens = params.key.token_ids
        params.key.token_ids = tokens[:-1] + tokens[:1]
        return super().insert(params)
"""


def test_a_key_whose_last_pair_is_wrong_is_caught(tmp_path: Path) -> None:
    """The slot is right for all tokens up to its position, and wrong for the one after."""
    trace = Trace(bigram(FULL, page_size=1), (op.Insert((1, 2, 3)),))
    root = broken_copy(fetch("0.5.13"), tmp_path, FORGETS_THE_LAST_TOKEN)
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = replay_on(broken, trace)
    assert found is not None
    assert "device-slots-hold-their-prefix" in found.slugs


def test_the_payload_of_a_pair_belongs_to_both_tokens() -> None:
    assert kv_tags("", (1, 2, 3), 2, bigram=True) == prefix_tags("", (1, 2, 3))[1:]
    assert kv_tags("", (1, 2), 2, bigram=False) == prefix_tags("", (1, 2))
    provisional = kv_tags("", (1, 2), 2, bigram=True)
    assert provisional[:1] == prefix_tags("", (1, 2))[1:]
    assert provisional[1] not in {kv_tags("", (1, 2, t), 2, bigram=True)[1] for t in range(9)}
    assert kv_tags("", (), 0, bigram=True) == ()


def test_a_forward_pass_writes_no_slot_of_the_tree_again() -> None:
    assert rewritten_from(5, 3, bigram=True) == 4
    assert rewritten_from(5, 5, bigram=True) == 5
    assert rewritten_from(5, 3, bigram=False) == 5
