"""Configurations and operations for a release: those of the machine, made legal for a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from radixproof.impl.sglang.configuration import host_ratio, host_slots
from radixproof.impl.sglang.pools import has_pages_for_layers
from radixproof.model import operations as op
from radixproof.model.config import FULL, SWA, CacheConfig
from radixproof.model.snapshot import Snapshot, Transfer
from radixproof.model.storage import PREFETCH_POLICIES, StorageConfig
from radixproof.model.units import raw_tokens
from radixproof.stateful_tests.choose import Chooser, RandomChooser
from radixproof.stateful_tests.configs import Limits, draw_config
from radixproof.stateful_tests.enabled import Situation, draw_operation, draw_style, draw_weights
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang import (
    draw_sessions,
    draw_storage,
    legal_budget,
    legal_decode,
    legal_ranks,
    legal_states,
    legal_storage,
)
from radixproof.stateful_tests.sglang.legal import (
    DEFAULT,
    Reach,
    made_legal,
    shares_blocks,
    why_illegal,
)
from radixproof.stateful_tests.sglang.ranked import RankedRun
from radixproof.stateful_tests.sglang.solo import Solo
from radixproof.stateful_tests.verdict import Counterexample

STEPS = 60
TRIES = 20


@dataclass(frozen=True, slots=True)
class Shape:
    """What a release lets a configuration be."""

    host_larger_than_device: bool
    """Every host pool has more slots than its device pool."""
    tells_events: bool
    """The cache has KV events."""
    hosts_all_three: bool
    """There is a host tier for FULL, SWA and MAMBA together."""
    tracks_long_pages: bool
    """With a tracking buffer a page may be longer than a chunk of states."""
    disables_in_place: bool
    """A server whose caching is disabled has this cache."""
    has_strategies: bool
    """Leaves are evicted by the strategy that is asked for, not always by recency."""
    stages_agree_on_host_size: bool


def draw_server(choose: Chooser, limits: Limits, shape: Shape) -> CacheConfig:
    """A configuration that a server of the release can have: host pools by one ratio."""
    components = limits.components or choose.pick(((FULL, SWA), (FULL, SWA), (FULL,)))
    config = draw_config(choose, replace(limits, components=components))
    one = limits.ranks in (None, 1)
    config = replace(
        config,
        disable=config.disable
        and shape.disables_in_place
        and not (config.has_mamba or limits.storage)
        and one,
        kv_events=config.kv_events and shape.tells_events,
        eviction_policy=config.eviction_policy if shape.has_strategies else "lru",
        load_back_threshold=max(1, config.load_back_threshold),
        materialize_out_of_window_leaf=True,
        ranks=limits.ranks or 1,
        pipeline=limits.pipeline,
    )
    if limits.decode_server:
        config = legal_decode.with_arrivals(config)
    if limits.budget:
        config = legal_budget.with_budget(choose, config)
    if limits.sessions:
        config = replace(config, sessions=True, bigram=False, disable=False)
    if config.has_mamba:
        requests = choose.pick((2, 3, 1, 4))
        slots = requests * legal_states.slots_per_request(config) + choose.pick(_spare(config))
        config = replace(config, mamba_slots=slots)
    if config.tracks_states and not shape.tracks_long_pages:
        chunk = max(config.page_size, config.mamba_chunk_size)
        config = replace(config, mamba_chunk_size=chunk)
    if config.has_mamba and config.has_swa and not shape.hosts_all_three:
        config = replace(config, host_full_slots=0, host_swa_slots=0, host_mamba_slots=0)
    if config.disable:
        config = replace(config, host_full_slots=0, host_swa_slots=0)
    if not config.has_host:
        return config
    percent = choose.pick(_LARGER if shape.host_larger_than_device else _RATIOS)
    hosted = _with_host(config, percent)
    if not has_pages_for_layers(hosted):
        hosted = _with_host(config, 200)
    if config.pipeline and not shape.stages_agree_on_host_size:
        hosted = _with_later_host(hosted, choose.pick((0, 150, 200)))
    return with_storage(hosted, choose) if limits.storage else hosted


def with_storage(config: CacheConfig, choose: Chooser) -> CacheConfig:
    """A storage tier below the host tier."""
    storage = StorageConfig(
        prefetch_policy=choose.pick(PREFETCH_POLICIES),
        prefetch_threshold=config.page_size * choose.pick((1, 1, 2)),
        zero_copy=choose.chance(50),
        prefix_keys=choose.chance(25),
    )
    return replace(config, storage=storage)


def _spare(config: CacheConfig) -> tuple[int, ...]:
    """State slots beyond what requests need: tracking keeps more of them busy at once."""
    return (0, 2, 4, 8) if config.tracks_states else (0, 1, 2)


def _with_host(config: CacheConfig, percent: int) -> CacheConfig:
    """Host pools of so many percent of the device's, and what the release adds."""
    pages = config.full_slots // config.page_size * percent // 100 + 1
    config = replace(config, host_full_slots=pages * config.page_size)
    ratio = host_ratio(config)
    if config.has_swa:
        slots = host_slots(config.swa_slots, ratio, config.page_size)
        config = replace(config, host_swa_slots=slots)
    if config.has_mamba:
        config = replace(config, host_mamba_slots=host_slots(config.mamba_slots, ratio, 1))
    return config


def _with_later_host(config: CacheConfig, percent: int) -> CacheConfig:
    """Stages after the first with so many percent of its host slots; 0: as many."""
    pages = config.host_full_slots // config.page_size * percent // 100
    return replace(config, later_host_full_slots=pages * config.page_size)


_LARGER = (200, 105, 150, 300)
_RATIOS = (200, 200, 100, 50, 25)
"""Host slots in percent of the device's. Write-back copies what it evicts: a host pool that is
only just larger is soon full."""


_REVIVALS = 5
"""Percent of the operations that give SWA back to a part of a node: by itself it comes seldom."""
_STORAGE_SHARE = 75
"""Percent of the operations that are the storage tier's, where there is one."""
_BATCH = {"admit": 4, "prefill": 9, "abort": 3, "execute": 3}
"""Weights while a batch is being made: what is legal then (legal_states.py)."""


_ASKING = {"admit": 12, "prepare": 5, "proceed": 10, "prefill": 8, "insert": 6}
"""Weights between rounds: mostly requests, since it is they who ask."""
_ROUND = {"admit": 6, "proceed": 6, "prefill": 8, "execute": 1}
"""Weights in a round of the scheduler's budget (legal_budget.py)."""


_ARRIVING = {"admit": 12, "prefill": 12, "insert": 0, "load_back": 0, "evict": 5}
"""Weights of a decode server."""
_CHUNKS = {**_ROUND, "prefill": 10, "execute": 3, "observe": 3, "finish": 1, "abort": 1}
"""Weights between two chunks of a prompt."""


def draw_legal(s: Situation, choose: Chooser, reach: Reach) -> op.Operation:
    """An operation that a server could do now. ``Match`` always is."""
    if legal_states.unsettled(s.state):
        s = replace(s, weights=_BATCH)
    if legal_budget.granted(s.state):
        s = replace(s, weights=_ROUND)
    elif legal_budget.is_between_chunks(s.state):
        s = replace(s, weights=_CHUNKS)
    if s.state.storage is not None and choose.chance(_STORAGE_SHARE):
        found = draw_storage.draw(s, choose)
        if found is not None and why_illegal(s.state, found, reach) is None:
            return found
    for _ in range(TRIES):
        operation = made_legal(_draw(s, choose), reach)
        operation = legal_states.made_legal(s.state, operation)
        operation = legal_budget.made_legal(s.state, operation)
        operation = legal_decode.made_legal(s.state, operation)
        if why_illegal(s.state, operation, reach) is None:
            return operation
    return op.Match((1,) * s.state.config.page_size)


def _draw(s: Situation, choose: Chooser) -> op.Operation:
    if s.state.config.sessions and choose.chance(draw_sessions.OF_A_SESSION):
        drawn = draw_sessions.draw(s, choose)
        if drawn is not None:
            return drawn
    if choose.chance(_REVIVALS):
        return _revival(s, choose) or draw_operation(s, choose)
    return draw_operation(s, choose)


def _revival(s: Situation, choose: Chooser) -> op.Insert | None:
    """Part of a node that lacks SWA is computed again: it is split, and the upper part gets SWA."""
    page = s.state.config.page_size
    lacking = [
        n
        for n in s.state.nodes
        if s.state.config.has_swa
        and n.full.device is not None
        and (n.swa is None or n.swa.device is None)
        and len(n.key) > page
    ]
    if not lacking:
        return None
    node = choose.pick(lacking)
    end = node.end - page * choose.integer(1, len(node.key) // page - 1)
    return op.Insert(raw_tokens(node.tokens[:end]), node.namespace)


def draw_together(s: Situation, choose: Chooser, run: RankedRun, slow: int | None) -> op.Operation:
    """An operation that all ranks could do now; a copy runs on one of them, seldom on ``slow``."""
    for _ in range(TRIES):
        rank = choose.integer(0, len(run.states) - 1)
        operation = draw_legal(replace(s, state=run.states[rank]), choose, run.reach)
        operation = legal_ranks.made_legal(operation)
        if isinstance(operation, op.Execute):
            if rank == slow and not choose.chance(15):
                continue
            operation = replace(operation, rank=rank)
        if run.why_illegal(operation) is None:
            return operation
    return op.Match((1,) * run.config.page_size)


Run = Solo | RankedRun


def walk(
    run: Run, choose: Chooser, *, steps: int = STEPS, style: Situation | None = None
) -> Counterexample | None:
    """``steps`` operations drawn from the subject's own state, then everything is given back."""
    situation = style or draw_style(choose, run.state)
    if shares_blocks(run.state) or draw_storage.shares_pages(run.state):
        situation.namespaces = ("",)
    situation.weights = situation.weights or draw_weights(choose)
    if run.state.storage is not None:
        situation.weights = draw_storage.patient(situation.weights)
        steps *= draw_storage.LONGER
    if run.state.config.max_new_tokens:
        situation.weights |= _ASKING
    if run.state.config.decode_server:
        situation.weights |= _ARRIVING
    slow = choose.pick((None, *range(run.config.ranks))) if isinstance(run, RankedRun) else None
    for _ in range(steps):
        situation.state = run.state
        if run.state.storage is not None:
            draw_storage.remember(situation)
        if isinstance(run, RankedRun):
            operation = draw_together(situation, choose, run, slow)
        else:
            operation = draw_legal(situation, choose, run.reach)
        found = run.step(operation)
        if found is not None:
            return found
    return wind_down(run)


def wind_down(run: Run) -> Counterexample | None:
    """End every request and lock, let every copy finish, evict everything: leaks show."""
    for operation in _endings(run):
        found = run.step(operation)
        if found is not None:
            return found
    while legal_storage.is_busy(run.state):
        for step in legal_storage.endings(run.state):
            found = run.step(step)
            if found is not None:
                return found
    config = run.state.config
    last: list[op.Operation] = [op.Evict(config.full_slots, config.swa_slots, config.mamba_slots)]
    if config.has_host:
        last += [op.EvictHost(config.pool_slots(f"host_{c}"), c) for c in config.components]
    for operation in last:
        found = run.step(operation)
        if found is not None:
            return found
    return None


def _endings(run: Run) -> list[op.Operation]:
    state = run.state
    ends = legal_budget.computes_them(state)
    if state.config.has_mamba:  # a request that a load brings a state to cannot end before it has
        ends += _loads_run(run.states)
    away = {name for s in state.sessions for name in s.rejected}
    for r in state.requests:
        computed = r.name in away and r.committed > 0
        ends.append(op.Finish(r.name) if computed else op.Abort(r.name))
    ends += [op.Abort(c.name) for c in state.candidates]
    ends += [op.CloseSession(s.name) for s in state.sessions]
    for receipt in state.receipts:
        if receipt.owner == "client":
            kind = op.Unlock if receipt.tier == "device" else op.HostUnlock
            ends.append(kind(receipt.name))
    queued = any(t.stage == "queued" for t in state.writes)
    ends += [op.Execute(op.WRITE)] * (max(_submitted(s.writes) for s in run.states) + queued)
    ends += [op.Observe(op.WRITE)] if state.writes else []
    ends += [] if state.config.has_mamba else _loads_run(run.states)
    ends += [op.Observe(op.LOAD)] if state.loads else []
    return ends


def _loads_run(states: Sequence[Snapshot]) -> list[op.Operation]:
    """Submit what is queued and run all copies of loads."""
    queued = any(t.stage == "queued" for t in states[0].loads)
    start: list[op.Operation] = [op.StartLoading()] if queued else []
    waiting = max(_submitted(s.loads) for s in states)
    return [*start, *[op.Execute(op.LOAD)] * (waiting + queued)]


def _submitted(queue: Sequence[Transfer]) -> int:
    """Submissions that have not run."""
    return len({t.batch for t in queue if t.stage == "submitted"})


MakeRun = Callable[[CacheConfig, Reach], Run]


def one_walk(
    make: MakeRun,
    seed: int,
    limits: Limits,
    shape: Shape,
    *,
    steps: int = STEPS,
    reach: Reach = DEFAULT,
    coverage: Coverage | None = None,
) -> Counterexample | None:
    """One run on a configuration of its own, all from ``seed``."""
    choose = RandomChooser(Random(seed))
    run = make(draw_server(choose, limits, shape), reach)
    try:
        return walk(run, choose, steps=steps)
    finally:
        covered = run.close()
        if coverage is not None:
            coverage.add(covered)
