"""Which invariants need what a Rust core hides is found out, not decided.

Every value that such a core does not show is replaced by one that cannot be read, in runs of the
specification; what then reads one must stand in hidden.py, and nothing stands there without need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from radixproof.invariants.catalogue import Step
from radixproof.invariants.checker import STATE_INVARIANTS, STEP_INVARIANTS
from radixproof.invariants.view import View
from radixproof.model.errors import ConfigError
from radixproof.model.options import CHUNKS_COUNT_HITS, HIDES_LOCKS, HIDES_TRACKING
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Node, Placement, Receipt, Snapshot
from radixproof.stateful_tests.bugs.releases import RELEASE_BUGS
from radixproof.stateful_tests.corpus import corpus, load
from radixproof.stateful_tests.sglang.dialect import in_part, not_checked, unjudged
from radixproof.stateful_tests.sglang.hidden import HIDDEN
from radixproof.stateful_tests.sglang.shown import differences, shown
from radixproof.stateful_tests.tests.runs import Observed, observed_steps

OPTIONS = frozenset({HIDES_LOCKS, HIDES_TRACKING})
SEEDS = range(60)
NAMED = {slug for d in HIDDEN for slug in d.slugs}


class HiddenRead(Exception):
    """A check needs what a Rust core does not show."""


class Hidden:
    """Any use of it fails; two of them are not the same."""

    def __bool__(self) -> bool:
        raise HiddenRead


def _fails(*_: object) -> Any:
    raise HiddenRead


_READING = "eq ne lt le gt ge hash iter len getitem contains add radd sub neg int index"
for _name in [f"__{name}__" for name in _READING.split()] + ["get", "items", "keys", "values"]:
    setattr(Hidden, _name, _fails)


class Some(Hidden):
    """Whether there is a lock is known, how many are not."""

    def __init__(self, any_lock: bool) -> None:
        self.any_lock = any_lock

    def __bool__(self) -> bool:
        return self.any_lock

    def __gt__(self, other: object) -> bool:
        return self.any_lock if other == 0 else _fails()

    def __lt__(self, other: object) -> bool:
        return other == 1 and not self.any_lock if other in (0, 1) else _fails()


def blinded(state: Snapshot, options: frozenset[str]) -> Snapshot:
    """The state as a Rust core shows it."""
    tracked = ("device_leaves", "host_leaves", "access_order", "creation_rank", "lru", "host_lru")
    return replace(
        state,
        nodes=tuple(map(_node, state.nodes)),
        receipts=tuple(map(_receipt, state.receipts)),
        options=options,
        **{name: Hidden() for name in tracked},  # type: ignore[arg-type]
    )


def _node(node: Node) -> Node:
    anything: Any = Hidden
    return replace(
        node,
        label=anything(),
        hit=anything(),
        priority=anything(),
        pending=anything(),
        full=replace(node.full, host_lock=anything()),
        swa=_auxiliary(node.swa),
        mamba=_auxiliary(node.mamba),
    )


def _auxiliary(p: Placement | None) -> Placement | None:
    if p is None:
        return None
    lock: Any = 0 if p.device is not None and not p.lock else Some(p.device is not None)
    host_lock: Any = Hidden()
    return replace(p, lock=lock, host_lock=host_lock)


def _receipt(receipt: Receipt) -> Receipt:
    full: Any = receipt.full_start if receipt.tier == "device" else Hidden()
    swa: Any = Hidden()
    return replace(receipt, full_start=full, swa_start=swa)


def _reads(check: Callable[[Any], Iterable[object]] | None, of: object) -> bool:
    try:
        list(check(of) if check is not None else ())
    except HiddenRead:
        return True
    return False


def runs() -> Iterator[Observed]:
    """Random ones, and recorded traces for what these seldom do."""
    for seed in SEEDS:
        yield from observed_steps(seed, 40)
    recorded = [load(path) for path in corpus()] + [bug.trace() for bug in RELEASE_BUGS.values()]
    for trace in recorded:
        try:
            model = ReferenceModel(trace.config)
        except ConfigError:
            continue  # a server's, which the specification has not
        before = model.snapshot()
        for operation in trace.operations:
            outcome, after = model.apply(operation), model.snapshot()
            yield before, operation, outcome, after
            before = after


@cache
def readers(options: frozenset[str]) -> frozenset[str]:
    """Slugs of the invariants that read something hidden in some step of the runs."""
    found: set[str] = set()
    for before, operation, outcome, after in runs():
        view = View(blinded(after, options))
        step = Step(View(blinded(before, options)), operation, outcome, view)
        found |= {i.slug for i in STATE_INVARIANTS if _reads(i.state_check, view)}
        rules = STEP_INVARIANTS.get(type(operation), ())
        found |= {i.slug for i in rules if _reads(i.step_check, step)}
    return frozenset(found)


def test_whatever_needs_what_is_hidden_is_named() -> None:
    assert readers(OPTIONS) <= NAMED | set(not_checked(()))


def test_nothing_is_named_without_need() -> None:
    assert readers(frozenset()) | readers(frozenset({CHUNKS_COUNT_HITS})) >= NAMED


def test_what_is_not_checked_is_never_called_checked_in_part() -> None:
    left_out, partly = set(unjudged(OPTIONS, "write_through")), set(in_part(OPTIONS))
    assert not left_out & partly
    assert left_out | partly >= NAMED
    assert in_part(()) == {}


def test_what_only_a_decode_server_is_spared_is_said_of_it_alone() -> None:
    """And what the other servers are judged by does not change."""
    whole, partly = not_checked(()), in_part((), decode_server=True)
    assert set(partly) == {"device-slots-hold-their-prefix"}
    more = set(not_checked((), decode_server=True)) - set(whole)
    assert more == {"an-admission-reports-what-a-match-would"}
    assert not {*partly, *more} & set(unjudged((), "write_through"))


def test_only_what_both_cores_show_is_compared() -> None:
    seen = [after for seed in range(5) for _, _, _, after in observed_steps(seed, 40)]
    state = max(seen, key=lambda s: len(s.nodes))
    node = state.nodes[0]
    for same in (
        replace(state, access_order=state.access_order[::-1], device_leaves=(), lru={}),
        replace(state, nodes=(replace(node, hit=99, label=(7,), pending=5), *state.nodes[1:])),
    ):
        assert list(differences(state, same)) == []
    full = node.full
    for other in (
        replace(node, full=replace(full, lock=full.lock + 1)),
        replace(node, full=replace(full, host=None if full.host else (0,))),
        replace(node, parent_pointer=5),
    ):
        changed = replace(state, nodes=(other, *state.nodes[1:]))
        assert any(told.startswith("nodes: ") for told in differences(state, changed))
    assert any(list(differences(state, replace(state, protected={}))))
    assert shown(state) == shown(replace(state, options=frozenset({HIDES_LOCKS})))
