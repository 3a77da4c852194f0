"""Streaming sessions of releases: driven, judged, and what is said of them can be seen to fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from radixproof.cli.main import main
from radixproof.cli.releases import start
from radixproof.impl.sglang.wheels import PYTHON, RUST, fetch
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.invariants.checker import check_state, check_step
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.errors import TraceError
from radixproof.model.outcome import Outcome
from radixproof.model.snapshot import Session, Snapshot
from radixproof.model.trace import Trace, dumps, loads
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.judge import Plan, judge, replay_on
from radixproof.stateful_tests.sglang.process import ReleaseProcess, unpack
from radixproof.stateful_tests.tests.broken import broken_copy
from radixproof.stateful_tests.verdict import OWN_CHECK

CONFIG = CacheConfig(
    components=(FULL, SWA),
    page_size=2,
    sliding_window=4,
    full_slots=48,
    swa_slots=48,
    host_full_slots=0,
    host_swa_slots=0,
    sessions=True,
)
CONVERSATION = (
    op.Match((1,)),
    op.OpenSession("s"),
    op.Turn("s", "r1", (1, 2, 1, 2, 1)),
    op.Prefill("r1", 3),
    op.Prefill("r1", 2),
    op.Decode("r1", (2, 2, 1)),
    op.Finish("r1"),
    op.Match((1, 2, 1, 2, 1, 2)),
    op.Turn("s", "r2", (1, 1, 1, 2), waits=True),
    op.Evict(full=48),
    op.Proceed("r2"),
    op.Prefill("r2", 2),
    op.Prefill("r2", 3),
    op.Decode("r2", (1, 1, 1, 1, 2), ahead=3),
    op.SlideWindow("r2"),
    op.Retract("r2"),
    op.Proceed("r2"),
    op.Prefill("r2", 1),
    op.Decode("r2", (1,), ahead=1),
    op.Finish("r2"),
    op.Turn("s", "r3", (2, 2)),
    op.Prefill("r3", 1),
    op.Abort("r3"),
    op.Turn("s", "r4", (2,)),
    op.CloseSession("s"),
    op.Prefill("r4", 1),
    op.Abort("r4"),
    op.CloseSession("s"),
    op.OpenSession("s"),
    op.Turn("s", "r5", (2, 2, 1)),
    op.Prefill("r5", 3),
    op.Decode("r5", (1, 1)),
    op.Finish("r5"),
    op.CloseSession("s"),
)
"""A session's life: turns, a refused admission, a retraction, aborts, a late close; and another."""
QUEUED = (
    op.OpenSession("s"),
    op.Turn("s", "r1", (1, 2), waits=True),
    op.Abort("r1"),
    op.Turn("s", "r1", (1, 2, 1)),
    op.Abort("r1"),
    op.Turn("s", "r1", (1, 2, 1)),
    op.Prefill("r1", 3),
    op.Finish("r1"),
    op.Turn("s", "r2", (2,), waits=True),
    op.Abort("r2"),
    op.CloseSession("s"),
)
"""Turns that are aborted before they are computed."""
AT_ONCE = (
    op.OpenSession("s"),
    op.Turn("s", "r1", (1, 2)),
    op.Prefill("r1", 2),
    op.Finish("r1"),
    op.Turn("s", "r2", (2,)),
    op.Prefill("r2", 2),
    op.Turn("s", "r3", (1, 1, 1)),
    op.Proceed("r3"),
    op.Prefill("r3", 1),
    op.Decode("r2", (1,)),
    op.Finish("r3"),
    op.Finish("r2"),
    op.CloseSession("s"),
)
"""A turn that is sent while one is in flight."""


@pytest.fixture(scope="module")
def latest() -> Iterator[ReleaseProcess]:
    with start("sglang==0.5.23", PYTHON, {}) as running:
        yield running


Observed = tuple[Snapshot, op.Operation, Outcome, Snapshot]


@pytest.fixture(scope="module")
def steps(latest: ReleaseProcess) -> list[Observed]:
    """Every step of the conversation on the latest release."""
    trace = Trace(CONFIG, CONVERSATION)
    [event] = [
        e
        for e in latest.ask({"do": "steps", "trace": dumps(trace), "look": True})
        if e["event"] == "done"
    ]
    told = unpack(event["steps"])
    states = [state for _, _, state in told]
    outcomes = [outcome for outcome, _, _ in told]
    pairs = zip(states, trace.operations[1:], outcomes[1:], states[1:], strict=False)
    return list(pairs)


@pytest.mark.parametrize("components", [(FULL,), (FULL, SWA)], ids="+".join)
@pytest.mark.parametrize("page", [1, 2])
def test_a_conversation_holds(
    latest: ReleaseProcess, components: tuple[str, ...], page: int
) -> None:
    config = replace(CONFIG, components=components, page_size=page)
    if SWA not in components:
        config = replace(config, swa_slots=0)
    operations = tuple(
        o for o in CONVERSATION if SWA in components or not isinstance(o, op.SlideWindow)
    )
    coverage = Coverage()
    assert replay_on(latest, Trace(config, operations), coverage=coverage) is None
    assert coverage.steps == len(operations)
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


def test_turns_may_be_aborted_in_the_queue(latest: ReleaseProcess) -> None:
    coverage = Coverage()
    assert replay_on(latest, Trace(CONFIG, QUEUED), coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


@pytest.mark.parametrize("version", ["0.5.23", "0.5.12.post1"])
def test_a_second_turn_at_once_is_turned_away(version: str) -> None:
    """It is a request of one token, which ends by itself and leaves the turn in flight alone."""
    coverage = Coverage()
    with start(f"sglang=={version}", PYTHON, {}) as running:
        assert replay_on(running, Trace(CONFIG, AT_ONCE), coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


@pytest.mark.parametrize(
    ("version", "core"),
    [
        ("0.5.23", RUST),
        pytest.param("0.5.12.post1", PYTHON, marks=pytest.mark.nightly),
        pytest.param("0.5.16", PYTHON, marks=pytest.mark.nightly),
        pytest.param("0.5.19", PYTHON, marks=pytest.mark.nightly),
        pytest.param("0.5.21", RUST, marks=pytest.mark.nightly),
    ],
)
def test_every_kind_of_release_holds_it(version: str, core: str) -> None:
    """From records that are copied to records that are lent; with nodes that are numbers."""
    coverage = Coverage()
    with start(f"sglang=={version}", core, {}) as running:
        assert replay_on(running, Trace(CONFIG, CONVERSATION), coverage=coverage) is None
    assert {kind for _, kind in coverage.outcomes} == {"ok"}


# What can be wrong in a state

Wrong = Callable[[Session], Session]
HELD: dict[str, tuple[str, Wrong]] = {
    "other tokens": (
        "sessions-keep-the-kv-of-their-tokens",
        lambda s: replace(s, tokens=(9, *s.tokens[1:])),
    ),
    "more computed than there is": (
        "sessions-keep-the-kv-of-their-tokens",
        lambda s: replace(s, committed=len(s.row) + 1),
    ),
    "a slot of somebody else": (
        "device-slots-have-one-owner",
        lambda s: replace(s, row=(*s.row[:-1], s.row[0])),
    ),
    "fewer slots": ("device-slots-have-one-owner", lambda s: replace(s, row=s.row[:-2])),
    "a prefix that is not the tree's": (
        "sessions-lock-their-prefix",
        lambda s: replace(s, protected=s.protected + 2),
    ),
    "no lock": ("sessions-lock-their-prefix", lambda s: replace(s, last_node=-1)),
    "no node": ("receipts-refer-to-nodes-in-the-tree", lambda s: replace(s, last_node=99)),
}


@pytest.mark.parametrize("wrong", HELD)
def test_a_wrong_session_is_seen(steps: list[Observed], wrong: str) -> None:
    slug, change = HELD[wrong]
    state = next(after for *_, after in steps if after.sessions and after.sessions[0].row)
    assert not check_state(state)
    changed = replace(state, sessions=(change(state.sessions[0]),))
    assert slug in {v.slug for v in check_state(changed)}


def test_a_lost_window_is_seen(steps: list[Observed]) -> None:
    """The window of a session, in the map and in the bytes."""
    state = next(after for *_, after in steps if after.sessions and after.sessions[0].row)
    session, slug = state.sessions[0], "sessions-keep-their-window"
    last = session.row[session.committed - 1]
    table = list(state.full_to_swa)
    swa, pool = table[last], state.pools[SWA]
    table[last] = 0
    assert slug in {v.slug for v in check_state(replace(state, full_to_swa=tuple(table)))}
    contents = (*pool.contents[:swa], 1, *pool.contents[swa + 1 :])
    pools = {**state.pools, SWA: replace(pool, contents=contents)}
    assert slug in {v.slug for v in check_state(replace(state, pools=pools))}


def test_kv_of_a_session_is_something_held(steps: list[Observed]) -> None:
    """Nothing else holds anything, and the state is not idle."""
    state = next(after for *_, after in steps if after.sessions and after.sessions[0].row)
    assert not state.requests
    freed = replace(state, receipts=(), sessions=())
    assert "nothing-is-held-when-idle" in {v.slug for v in check_state(freed)}


# What can be wrong in a step

STEPS: dict[str, tuple[type[op.Operation], str, Wrong]] = {
    "open with a history": (
        op.OpenSession,
        "an-opened-session-is-empty",
        lambda s: replace(s, history=(1,)),
    ),
    "a turn that is not in flight": (
        op.Turn,
        "a-turn-goes-on-from-the-history",
        lambda s: replace(s, turn=""),
    ),
    "a turn that leaves the KV where it was": (
        op.Proceed,
        "a-turn-takes-what-its-session-holds",
        lambda s: replace(s, row=(2,)),
    ),
    "a turn that ends and leaves no history": (
        op.Finish,
        "a-session-keeps-what-its-turn-computed",
        lambda s: replace(s, history=()),
    ),
    "a turn that ends and leaves less": (
        op.Finish,
        "a-session-keeps-what-its-turn-computed",
        lambda s: replace(s, committed=s.committed - 1),
    ),
    "a retracted turn taken for one that ended": (
        op.Retract,
        "a-session-keeps-what-its-turn-computed",
        lambda s: replace(s, history=s.tokens),
    ),
    "an abort that leaves words behind": (
        op.Abort,
        "an-aborted-turn-leaves-the-history",
        lambda s: replace(s, history=(*s.history, 1)),
    ),
    "a late close that closes nothing": (
        op.CloseSession,
        "a-closed-session-gives-all-back",
        lambda s: replace(s, closing=False),
    ),
    "a match that changes a session": (
        op.Match,
        "sessions-change-only-by-their-own-operations",
        lambda s: replace(s, swa_evicted=s.swa_evicted + 2),
    ),
    "an eviction that takes a session": (
        op.Evict,
        "sessions-change-only-by-their-own-operations",
        lambda s: replace(s, name="t"),
    ),
}


@pytest.mark.parametrize("wrong", STEPS)
def test_a_wrong_step_is_seen(steps: list[Observed], wrong: str) -> None:
    kind, slug, change = STEPS[wrong]
    before, o, outcome, after = next(s for s in steps if isinstance(s[1], kind) and s[3].sessions)
    assert not check_step(before, o, outcome, after)
    changed = replace(after, sessions=(change(after.sessions[0]),))
    assert slug in {v.slug for v in check_step(before, o, outcome, changed)}


@pytest.mark.parametrize("wrong", ["lost", "other words", "more urgent"])
def test_a_turn_that_waited_and_runs_as_another_is_seen(steps: list[Observed], wrong: str) -> None:
    """A turn is a request: what holds of those that wait holds of it."""
    slug = "who-waited-runs-or-waits-on"
    before, o, outcome, after = next(s for s in steps if isinstance(s[1], op.Proceed))
    assert slug not in {v.slug for v in check_step(before, o, outcome, after)}
    (turn,) = after.requests
    changed = {
        "lost": (),
        "other words": (replace(turn, tokens=(*turn.tokens[:-1], turn.tokens[-1] + 1)),),
        "more urgent": (replace(turn, priority=turn.priority + 1),),
    }
    assert slug in {
        v.slug for v in check_step(before, o, outcome, replace(after, requests=changed[wrong]))
    }


def test_a_turn_beside_another_is_seen(steps: list[Observed]) -> None:
    """Accepted though one is in flight; turned away though none is."""
    slug = "a-session-has-one-turn-in-flight"
    before, o, outcome, after = next(s for s in steps if isinstance(s[1], op.Turn))
    busy = replace(before, sessions=(replace(before.sessions[0], turn="x"),))
    assert slug in {v.slug for v in check_step(busy, o, outcome, after)}
    away = replace(outcome, values={"accepted": 0})
    assert slug in {v.slug for v in check_step(before, o, away, before)}


def test_a_close_that_does_not_close_is_seen(steps: list[Observed]) -> None:
    before, o, outcome, after = steps[-1]
    assert not after.sessions
    assert not check_step(before, o, outcome, after)
    wrong = replace(after, sessions=before.sessions)
    assert "a-closed-session-gives-all-back" in {
        v.slug for v in check_step(before, o, outcome, wrong)
    }


# What can be wrong in a release

SESSION = Path("sglang/srt/session/streaming_session.py")
CONTROLLER = Path("sglang/srt/session/session_controller.py")
BROKEN = {
    "a closed session keeps its memory": (
        "StreamingSession",
        "    def release_session(self, session_id):\n        self.slots.pop(session_id, None)",
        "a-closed-session-gives-all-back",
    ),
    "a turn is matched in the tree": (
        "StreamingSession",
        "    def try_match_prefix(self, params):\n        return None",
        "a-turn-takes-what-its-session-holds",
    ),
    "what a turn cannot use is lost": (
        "StreamingSession",
        "    def _free_kv_aligned(self, kv, target, end):\n        return",
        "device-slots-have-one-owner",
    ),
    "the first prompt is not shared": (
        "StreamingSession",
        "    def take(self, req):\n        super().take(req)\n"
        "        self.slots[req.session.session_id].publishes_prompt = False",
        "a-turn-publishes-its-first-prompt-alone",
    ),
    "every turn is published": (
        "StreamingSession",
        "    def take(self, req):\n        super().take(req)\n"
        "        self.slots[req.session.session_id].publishes_prompt = True",
        "a-turn-publishes-its-first-prompt-alone",
    ),
    "a turn that ends computed one token less": (
        "StreamingSession",
        "    def try_cache_finished_req(self, req):\n"
        "        slot = self.borrowed_slot(req)\n"
        "        told = super().try_cache_finished_req(req)\n"
        "        if told:\n            slot.kv.kv_committed_len -= 1\n        return told",
        "a-session-keeps-what-its-turn-computed",
    ),
    "a turn with another history": (
        "Session",
        "    def _share_token_arrays(self, last_req, new_input_ids):\n"
        "        told = super()._share_token_arrays(last_req, new_input_ids)\n"
        "        told[0][0] = 9\n        return told",
        "a-turn-goes-on-from-the-history",
    ),
}


@pytest.mark.nightly
@pytest.mark.parametrize("defect", BROKEN)
def test_a_wrong_release_is_seen(tmp_path: Path, defect: str) -> None:
    """The latest release's session code with a defect of ours."""
    kind, method, slug = BROKEN[defect]
    inside = CONTROLLER if kind == "Session" else SESSION
    tree = broken_copy(fetch("0.5.23"), tmp_path, method, inside=inside, kind=kind)
    with start(f"sglang:{tree}", PYTHON, {}) as running:
        found = replay_on(running, Trace(CONFIG, CONVERSATION))
    assert found is not None
    assert slug in found.slugs


@pytest.mark.nightly
def test_a_wrong_count_of_what_sessions_hold_is_seen(tmp_path: Path) -> None:
    """The number that the release's own leak check rests on."""
    method = "    def session_records(self):\n        return {}"
    tree = broken_copy(fetch("0.5.23"), tmp_path, method)
    with start(f"sglang:{tree}", PYTHON, {}) as running:
        found = replay_on(running, Trace(CONFIG, CONVERSATION))
    assert found is not None
    assert found.slugs == (OWN_CHECK,)


# Walks, traces and the command


def test_walks_talk_and_are_the_same_twice(latest: ReleaseProcess) -> None:
    plan = Plan(3, limits=Limits(sessions=True), shrinks=False)
    first, second = (judge(latest, plan, seed=11) for _ in range(2))
    assert first.coverage.outcomes == second.coverage.outcomes
    assert first.coverage.outcomes["turn", "ok"] > 3
    assert first.coverage.outcomes["close_session", "ok"] > 1
    without = judge(latest, Plan(3, shrinks=False), seed=11)
    assert not without.coverage.outcomes["open_session", "ok"]


def test_a_trace_with_sessions_says_so() -> None:
    trace = Trace(CONFIG, CONVERSATION)
    assert loads(dumps(trace)) == trace
    raw = json.loads(dumps(trace))
    del raw["config"]["sessions"]
    with pytest.raises(TraceError, match="operation 2: open_session wants a configuration with"):
        loads(json.dumps(raw))


@pytest.mark.parametrize(
    "asked",
    [
        ["check", "--sessions"],
        ["check", "--sessions", "--subject", "sglang==0.5.23", "--bigram"],
        ["check", "--sessions", "--subject", "sglang==0.5.23", "--components", "full,mamba"],
        ["check", "--sessions", "--subject", "sglang==0.5.23", "--relation"],
        ["replay", "TRACE", "--subject", "torch"],
        ["replay", "TRACE", "--subject", "model"],
        ["replay", "TRACE", "--subject", "sglang==0.5.23", "--relation"],
    ],
    ids=" ".join,
)
def test_what_has_no_sessions_says_so(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trace.json"
    file.write_text(dumps(Trace(CONFIG, CONVERSATION)), encoding="utf-8")
    assert main([str(file) if word == "TRACE" else word for word in asked]) == 2
    assert "sessions" in capsys.readouterr().err


def test_a_release_without_sessions_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = "    def match_prefix(self, params):\n        return self._match_tree(params)"
    tree = broken_copy(fetch("0.5.23"), tmp_path, method)
    assert main(["check", "--sessions", "--subject", f"sglang:{tree}"]) == 2
    assert "no streaming sessions" in capsys.readouterr().err


def test_every_rule_of_sessions_is_shown_to_fail() -> None:
    shown = {slug for slug, _ in HELD.values()} | {slug for _, slug, _ in STEPS.values()}
    shown |= {slug for *_, slug in BROKEN.values()} | {"sessions-keep-their-window"}
    shown |= {"a-session-has-one-turn-in-flight"}
    rules = {s for s, i in CATALOGUE.items() if i.family in ("sessions", "steps.session")}
    assert rules <= shown
