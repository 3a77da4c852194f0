"""The storage tier of a release: from the device to the store and back, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, RUST, fetch
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, WRITE_BACK, CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.outcome import Outcome
from radixproof.model.storage import QUERY, READ, REPORT, WRITE_PAGES, StorageConfig
from radixproof.model.storage_operations import (
    BeginPrefetch,
    CheckPrefetch,
    Elapse,
    LosePages,
    PollStorage,
    StorageWork,
)
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess, unpack
from radixproof.stateful_tests.tests.broken import broken_copy

LATEST = "0.5.23"
KEY = (1, 2, 3, 4)
Ops = tuple[op.Operation, ...]
STORED: Ops = (
    op.Insert(KEY),
    op.Execute(op.WRITE),
    op.Observe(op.WRITE),
    *[StorageWork(WRITE_PAGES)] * 3,
    PollStorage(),
)
"""A prefix in the store, two pages a call."""
AWAY: Ops = (*STORED, op.Evict(16), op.EvictHost(4))
BEHIND: Ops = (op.Insert(KEY[:2]), op.Execute(op.WRITE), op.Observe(op.WRITE))
"""Its first half is on the host again, and what is asked for begins there."""
ASKED: Ops = (*AWAY, op.Prepare("r1", (*KEY, 5)), BeginPrefetch("r1"))
FOUND: Ops = (*ASKED, *[StorageWork(QUERY)] * 2, PollStorage())
"""The store has it, and host memory is taken for it."""
HALF: Ops = (*FOUND, *[StorageWork(READ)] * 2, StorageWork(REPORT), PollStorage())
"""Two of four pages are there."""
ARRIVED: Ops = (*HALF, StorageWork(READ), *[StorageWork(REPORT)] * 2, PollStorage())


def tiered(policy: str = "wait_complete", *components: str, zero_copy: bool = False) -> CacheConfig:
    return CacheConfig(
        components=components or (FULL,),
        full_slots=16,
        swa_slots=16 if SWA in components else 0,
        host_full_slots=33,
        host_swa_slots=33 if SWA in components else 0,
        mamba_slots=0,
        host_mamba_slots=0,
        materialize_out_of_window_leaf=True,
        storage=StorageConfig(policy, zero_copy=zero_copy),
        kv_events=True,
    )


@pytest.fixture(scope="module")
def release() -> Iterator[ReleaseProcess]:
    with start(f"sglang=={LATEST}", PYTHON, {}) as running:
        yield running


@pytest.fixture(scope="module")
def rust() -> Iterator[ReleaseProcess]:
    with start(f"sglang=={LATEST}", RUST, {}) as running:
        yield running


def last(process: ReleaseProcess, trace: Trace, *, legal: bool = True) -> Outcome:
    """What the last operation answers; nothing is found along the way.

    Unless ``legal`` is false, every worker that is told to go on has something to do.
    """
    coverage = Coverage()
    assert replay_on(process, trace, coverage=coverage) is None
    assert coverage.steps == len(trace.operations)
    assert not legal or {kind for _, kind in coverage.outcomes} <= {"ok", "refused"}
    *_, done = process.ask({"do": "steps", "trace": dumps(trace), "look": False})
    outcome: Outcome = unpack(done["steps"])[-1][0]
    return outcome


@pytest.mark.parametrize("zero_copy", [False, True])
def test_a_prefix_comes_back_from_the_store(release: ReleaseProcess, zero_copy: bool) -> None:
    trace = Trace(tiered(zero_copy=zero_copy), (*ARRIVED, CheckPrefetch("r1"), op.Proceed("r1")))
    outcome = last(release, trace)
    assert (outcome.values["host_hit"], outcome.values["loaded"]) == (4, 1)


def test_a_prefetch_begins_behind_what_is_there(release: ReleaseProcess) -> None:
    begun = (*AWAY, *BEHIND, op.Prepare("r1", (*KEY, 5)), BeginPrefetch("r1"))
    assert last(release, Trace(tiered(), begun)).values["prefetching"] == 2


def test_a_rust_core_does_the_same(rust: ReleaseProcess) -> None:
    outcome = last(rust, Trace(tiered(), (*ARRIVED, CheckPrefetch("r1"), op.Proceed("r1"))))
    assert (outcome.values["host_hit"], outcome.values["loaded"]) == (4, 1)


def test_a_prefetch_is_waited_for_until_it_is_complete(release: ReleaseProcess) -> None:
    assert last(release, Trace(tiered(), (*HALF, CheckPrefetch("r1")))).kind == "refused"


@pytest.mark.parametrize("done", [ASKED, FOUND, HALF], ids=["asked", "found", "half"])
def test_an_abort_gives_everything_back(release: ReleaseProcess, done: Ops) -> None:
    """Whatever the workers are at; what they have in hand comes back when they are through."""
    work: Ops = tuple(StorageWork(w) for w in (QUERY, READ, REPORT, REPORT, REPORT))
    ending = (*work, PollStorage(), PollStorage(), op.EvictHost(33))
    outcome = last(release, Trace(tiered(), (*done, op.Abort("r1"), *ending)), legal=False)
    assert outcome.values["freed"] == 0


@pytest.mark.parametrize(
    ("policy", "late"), [("best_effort", ()), ("timeout", (Elapse(9),))], ids=str
)
def test_what_came_in_time_is_kept(release: ReleaseProcess, policy: str, late: Ops) -> None:
    """Two of four pages, and the request goes on with these."""
    waits: Ops = (CheckPrefetch("r1"),) if late else ()
    outcome = last(release, Trace(tiered(policy), (*HALF, *waits, *late, CheckPrefetch("r1"))))
    assert outcome.values["from_storage"] == 2


@pytest.mark.parametrize(
    "failing", [StorageWork(READ, pages=1), StorageWork(READ, raises=True)], ids=str
)
def test_a_store_that_fails_costs_pages_and_nothing_else(
    release: ReleaseProcess, failing: StorageWork
) -> None:
    rest: Ops = (StorageWork(REPORT), StorageWork(REPORT), StorageWork(REPORT), PollStorage())
    trace = (*FOUND, StorageWork(READ), failing, *rest, CheckPrefetch("r1"))
    assert last(release, Trace(tiered(), trace)).values["from_storage"] == (failing.pages or 0)


def test_a_store_that_lost_the_pages_is_asked_in_vain(release: ReleaseProcess) -> None:
    trace = (*ASKED, LosePages(4), *[StorageWork(QUERY)] * 2, PollStorage(), CheckPrefetch("r1"))
    assert last(release, Trace(tiered(), trace)).values["from_storage"] == 0


def test_a_window_comes_back_with_its_prefix(release: ReleaseProcess) -> None:
    """FULL and SWA; the window is read after all of FULL."""
    work = [StorageWork(w) for w in (WRITE_PAGES, QUERY, READ, REPORT)]
    stored: Ops = (*STORED[:3], *[work[0]] * 6, PollStorage(), op.Evict(16, 16), op.EvictHost(33))
    asked = (*stored, op.Prepare("r1", (*KEY, 5)), BeginPrefetch("r1"), work[1], work[1])
    came = (*asked, PollStorage(), *[work[2]] * 4, *[work[3]] * 4, PollStorage())
    trace = Trace(tiered("wait_complete", FULL, SWA), (*came, CheckPrefetch("r1")))
    coverage = Coverage()
    assert replay_on(release, trace, coverage=coverage) is None
    assert coverage.outcomes["check_prefetch", "ok"] == 1


def test_who_got_no_slots_has_not_been_in_a_batch(release: ReleaseProcess) -> None:
    """Write-back finds no room, for the store holds the host: nobody is retracted for it."""
    full = replace(tiered(), full_slots=8, host_full_slots=9, write_policy=WRITE_BACK, bigram=True)
    insert, turned = op.Insert((1,) * 6), op.Prepare("r1", (1,) * 7)
    other = op.Admit("r2", (1,) * 5, "x"), op.Prefill("r2", 5), op.Finish("r2")
    longer = op.Prepare("r1", (1,) * 7, "x"), op.Proceed("r1"), op.Prefill("r1", 3)
    stuck: Ops = (insert, *other, *longer, op.Finish("r1"), turned, op.Proceed("r1"))
    refused = (*stuck, op.Prefill("r1", 5))
    assert last(release, Trace(full, refused), legal=False).kind == "refused"
    retracted = last(release, Trace(full, (*refused, op.Retract("r1"))), legal=False)
    assert retracted.error == ErrorKind.PROTOCOL
    assert last(release, Trace(full, (*refused, op.Abort("r1"))), legal=False).kind == "ok"


BROKEN = {
    "prefetches-count-while-they-last": """
    def _handle_prefetch_result(self, operation):
        held = self.cache_controller.prefetch_tokens_occupied
        super()._handle_prefetch_result(operation)
        self.cache_controller.prefetch_tokens_occupied = held
""",
    "host-slots-have-one-owner": """
    def release_aborted_request(self, request):
        info = self.ongoing_prefetch.get(request)
        if info is not None and info.host_indices is not None:
            info.operation.host_indices = info.host_indices[:0]
        super().release_aborted_request(request)
""",
    "page-hashes-are-those-of-the-prefix": """
    def _handle_prefetch_result(self, operation):
        operation.hash_value = operation.hash_value[::-1]
        super()._handle_prefetch_result(operation)
""",
    "a-prefetch-begins-where-its-anchor-ends": """
    def prefetch_from_storage(self, request, anchor, tokens, *more, **named):
        super().prefetch_from_storage(request, self.tree_core.root_node.id, tokens, *more, **named)
""",
    "what-a-prefetch-brought-is-found": """
    def _handle_prefetch_result(self, operation):
        operation.completed_tokens = 0
        super()._handle_prefetch_result(operation)
""",
}
"""Slug -> a release that breaks it."""


@pytest.mark.parametrize("slug", BROKEN)
def test_a_release_that_does_wrong_is_found_out(slug: str, tmp_path: Path) -> None:
    root = broken_copy(fetch(LATEST), tmp_path / "tree", BROKEN[slug])
    begun = (*AWAY, *BEHIND, op.Prepare("r1", (*KEY, 5)), BeginPrefetch("r1"))
    traces = [Trace(tiered(), t) for t in (ARRIVED, (*HALF, op.Abort("r1")), begun)]
    with start(f"sglang:{root}", PYTHON, {}) as broken:
        found = [replay_on(broken, trace) for trace in traces]
    assert slug in {s for each in found if each is not None for s in each.slugs}


def test_a_trace_with_a_storage_tier_is_json_and_back() -> None:
    trace = Trace(tiered("timeout", zero_copy=True), (*ARRIVED, Elapse(2), LosePages(1)))
    assert loads(dumps(trace)) == trace
    plain = Trace(CacheConfig(), (op.Match((1,)),))
    assert '"storage"' not in dumps(plain)


def test_what_has_no_storage_tier_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(dumps(Trace(tiered(), ARRIVED)), encoding="utf-8")
    assert main(["replay", str(path)]) == 2
    assert main(["check", "--subject", "sglang==0.5.12.post1", "--storage"]) == 2
    assert main(["check", "--subject", f"sglang=={LATEST}", "--storage", "--components", "x"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == [
        "radixproof: only releases of SGLang have a storage tier",
        "radixproof: sglang==0.5.12.post1: the unified cache of this release has no storage tier",
    ]
