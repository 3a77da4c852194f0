"""State-aware generation: the next operation, drawn from what the state makes possible.

One function per operation. Keys are existing prefixes, their extensions and divergences; holders,
requests and streams are those that exist. A small share of calls is illegal on purpose
(``illegal.py``). Blind drawing misses short bugs that this finds at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from radixproof.model import operations as op
from radixproof.model.config import FULL, MAMBA, SWA
from radixproof.model.keys import ceil_page
from radixproof.model.snapshot import Node, Request, Snapshot
from radixproof.model.units import raw_tokens, units
from radixproof.stateful_tests.choose import Chooser

HOLDERS = ("a", "b", "c")
REQUESTS = ("r1", "r2", "r3")


@dataclass(slots=True)
class Situation:
    """What a generator may look at: the specification's state, and the style of this run."""

    state: Snapshot
    namespaces: tuple[str, ...] = ("",)
    alphabet: int = 2
    longest: int = 8
    """Pages in the longest key."""
    late: str = ""
    """The stream whose copies run as late as they may, mostly; none: ''."""
    weights: dict[str, int] = field(default_factory=dict)
    """Operation name -> weight in this run; 0 switches it off."""
    remembered: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    """Namespaces and tokens that were cached once; noted with a storage tier only."""


Generator = Callable[[Situation, Chooser], op.Operation | None]
"""Makes a legal operation, or ``None`` where the state allows none."""


def draw_style(choose: Chooser, state: Snapshot) -> Situation:
    """Each run has its own alphabet, namespaces and length of keys."""
    return Situation(
        state,
        namespaces=choose.pick((("",), ("", "x"))),
        alphabet=choose.pick((2, 2, 3)),
        longest=choose.pick((8, 5, 12)),
        late=choose.pick(("", "", op.LOAD, op.WRITE)),
    )


def draw_weights(choose: Chooser, late: str = "") -> dict[str, int]:
    """Swarm: each run has its own mix of operations, and lacks some.

    Where loads run late, more of them wait.
    """
    weights = {
        name: weight if name in _ALWAYS_ON else choose.pick((weight, weight, 3 * weight, 0))
        for name, weight in WEIGHTS.items()
    }
    if late == op.LOAD:
        weights |= {"load_back": 40, "start_loading": 20, "evict": 8, "prefill": 1}
    return weights


def draw_operation(s: Situation, choose: Chooser) -> op.Operation:
    """A legal operation. ``Match`` is always possible."""
    possible = [name for name, weight in s.weights.items() for _ in range(weight)]
    for _ in range(8):
        if not possible:
            break
        operation = GENERATORS[choose.pick(possible)](s, choose)
        if operation is not None:
            return operation
    return match(s, choose)


# Keys


def key(s: Situation, choose: Chooser) -> tuple[str, tuple[int, ...]]:
    """A namespace and tokens: an existing prefix, cut and gone on with, or a fresh key."""
    size = s.state.config.page_size
    namespace: str = choose.pick(s.namespaces)
    tokens: tuple[int, ...] = ()
    if s.state.nodes and not choose.chance(20):
        node = choose.pick(s.state.nodes)
        namespace, tokens = node.namespace, raw_tokens(node.tokens)
        if choose.chance(30):
            tokens = tokens[: choose.integer(0, len(tokens))]
    longest = s.longest * size
    room = max(0, longest - len(tokens))
    more = choose.pick((0, size, 2 * size, 1, 3 * size, size + 1, 4 * size))
    tokens = (*tokens, *fresh_tokens(choose, min(more, room), s.alphabet))
    return namespace, tokens or (1,)


def crowding_key(s: Situation, choose: Chooser) -> tuple[str, tuple[int, ...]]:
    """A fresh key that leaves a pool with few free slots: full pools are where the edges are."""
    config = s.state.config
    pool = choose.pick([c for c in config.components if c != MAMBA])
    left = choose.integer(0, 3) * config.page_size
    count = min(s.state.pools[pool].free_slots - left, 2 * s.longest * config.page_size)
    tokens = fresh_tokens(choose, max(config.page_size, count), s.alphabet)
    return choose.pick(s.namespaces), tokens


def fresh_tokens(choose: Chooser, count: int, alphabet: int) -> tuple[int, ...]:
    """All the same, or any; either way one choice makes them all."""
    if count and choose.chance(50):
        return (choose.integer(1, alphabet),) * count
    number = choose.integer(0, alphabet**count - 1)
    return tuple(1 + number // alphabet**i % alphabet for i in range(count))


def match(s: Situation, choose: Chooser) -> op.Match:
    namespace, tokens = key(s, choose)
    return op.Match(tokens, namespace)


def insert(s: Situation, choose: Chooser) -> op.Insert | op.Evict:
    """Where memory is short, mostly the eviction that a client would do first."""
    namespace, tokens = crowding_key(s, choose) if choose.chance(8) else key(s, choose)
    config = s.state.config
    need = ceil_page(len(tokens), config.page_size)
    short = {
        c: max(0, (1 if c == MAMBA else need) - s.state.pools[c].free_slots)
        for c in config.components
    }
    if any(short.values()) and not choose.chance(10):
        return op.Evict(short[FULL], short.get(SWA, 0), short.get(MAMBA, 0))
    evicted = 0
    if config.has_swa and choose.chance(40):
        pages = len(units(tokens, config.bigram)) // config.page_size
        evicted = choose.integer(0, pages) * config.page_size
    chunked, priority = choose.chance(10), choose.pick((0, 0, 0, 1))
    return op.Insert(tokens, namespace, evicted, chunked, priority)


# Locks


def lock(s: Situation, choose: Chooser) -> op.Lock | None:
    node, holder = _target(s, choose, "device", s.state.nodes)
    return op.Lock(holder, raw_tokens(node.tokens), node.namespace) if node and holder else None


def host_lock(s: Situation, choose: Chooser) -> op.HostLock | None:
    backed_up = [n for n in s.state.nodes if n.backuped]
    node, holder = _target(s, choose, "host", backed_up)
    return op.HostLock(holder, raw_tokens(node.tokens), node.namespace) if node and holder else None


def _target(
    s: Situation, choose: Chooser, tier: str, nodes: Sequence[Node]
) -> tuple[Node | None, str]:
    """A node to lock and a holder without a receipt of that tier."""
    free = [h for h in HOLDERS if h not in held(s.state, tier)]
    return (choose.pick(nodes), free[0]) if free and nodes else (None, "")


def unlock(s: Situation, choose: Chooser) -> op.Unlock | None:
    holders = held(s.state, "device")
    return op.Unlock(choose.pick(holders)) if holders else None


def host_unlock(s: Situation, choose: Chooser) -> op.HostUnlock | None:
    holders = held(s.state, "host")
    return op.HostUnlock(choose.pick(holders)) if holders else None


def held(state: Snapshot, tier: str) -> list[str]:
    """Clients that hold a receipt of a tier."""
    return [r.name for r in state.receipts if r.owner == "client" and r.tier == tier]


# Memory pressure


def evict(s: Situation, choose: Chooser) -> op.Evict:
    """Of one component, or of all at once."""
    config = s.state.config
    asked = {c: _amount(choose, config.pool_slots(c)) for c in config.components}
    if choose.chance(60):
        only = choose.pick(config.components)
        asked = {only: asked[only]}
    return op.Evict(**asked)


def evict_host(s: Situation, choose: Chooser) -> op.EvictHost | None:
    config = s.state.config
    if not config.has_host:
        return None
    component = choose.pick(config.components)
    return op.EvictHost(_amount(choose, config.pool_slots(f"host_{component}")), component)


def _amount(choose: Chooser, everything: int) -> int:
    """All, or a few tokens."""
    return everything if choose.chance(50) else choose.integer(0, min(everything, 6))


# Transfers


def load_back(s: Situation, choose: Chooser) -> op.LoadBack | None:
    """Of a node that something is missing of; only valid best matches are legal targets."""
    if not s.state.config.has_host:
        return None
    targets = [i for i in range(len(s.state.nodes)) if is_loadable(s.state, i)]
    wanting = [i for i in targets if _wants_loading(s.state.nodes[i])]
    if not choose.chance(5):
        targets = wanting
    if not targets:
        return None
    target = choose.pick(targets)
    if choose.chance(40):
        target = max(targets, key=lambda i: missing(s.state, i))
    node = s.state.nodes[target]
    quota = choose.integer(0, 2 * missing(s.state, target) + 1) if choose.chance(30) else None
    return op.LoadBack(raw_tokens(node.tokens), node.namespace, quota)


def is_loadable(state: Snapshot, index: int) -> bool:
    """The legality of ``LoadBack``, from the snapshot: data on some tier over the whole path."""
    mamba = state.nodes[index].mamba
    if mamba is not None and mamba.device is None and mamba.host is None:
        return False
    window, run, gap = state.config.sliding_window, 0, False
    path = []
    while index >= 0:
        path.append(state.nodes[index])
        index = state.nodes[index].parent
    for node in reversed(path):
        if node.evicted and not node.backuped:
            return False
        if node.swa is not None:
            if node.swa.device is None and node.swa.host is None:
                run, gap = 0, True
            else:
                run += len(node.key)
    if path[0].swa is None:
        return True
    return run > 0 and (not gap or run >= window)


def missing(state: Snapshot, index: int) -> int:
    """FULL tokens of a node's path that are not on the device: what a load has to bring."""
    tokens = 0
    while index >= 0:
        node = state.nodes[index]
        tokens += len(node.key) if node.evicted else 0
        index = node.parent
    return tokens


def _wants_loading(node: Node) -> bool:
    """Something of it is on host only."""
    parts = [p for p in (node.full, node.swa, node.mamba) if p is not None]
    return any(p.device is None and p.host is not None for p in parts)


def start_loading(s: Situation, choose: Chooser) -> op.StartLoading | None:
    queued = any(t.stage == "queued" for t in s.state.loads)
    return op.StartLoading() if queued or choose.chance(5) else None


def execute(s: Situation, choose: Chooser) -> op.Execute | None:
    streams = waiting(s.state)
    stream = choose.pick(streams) if streams else ""
    if not stream or (stream == s.late and not choose.chance(8)):
        return None
    return op.Execute(stream)


def waiting(state: Snapshot) -> list[str]:
    """Streams with a submission that has not run."""
    queues = ((op.WRITE, state.writes), (op.LOAD, state.loads))
    return [name for name, queue in queues if any(t.stage == "submitted" for t in queue)]


def observe(s: Situation, choose: Chooser) -> op.Observe | None:
    queues = ((op.WRITE, s.state.writes), (op.LOAD, s.state.loads))
    streams = [name for name, queue in queues if any(t.stage == "executed" for t in queue)]
    if not streams and not choose.chance(5):
        return None
    limit = choose.integer(0, 2) if choose.chance(25) else None
    return op.Observe(choose.pick(streams or op.STREAMS), limit)


# Requests


def admit(s: Situation, choose: Chooser) -> op.Admit | None:
    free = unused(s.state)
    if not free:
        return None
    namespace, tokens = key(s, choose)
    load, quota = _loading(choose)
    return op.Admit(free[0], tokens, namespace, choose.pick((0, 0, 1)), load, quota)


def unused(state: Snapshot) -> list[str]:
    """Names of requests that neither run nor wait."""
    known = {r.name for r in state.requests} | {c.name for c in state.candidates}
    return [r for r in REQUESTS if r not in known]


def _loading(choose: Chooser) -> tuple[bool, int | None]:
    """Whether a load-back may be tried, and its quota."""
    return not choose.chance(15), choose.integer(0, 12) if choose.chance(10) else None


def prepare(s: Situation, choose: Chooser) -> op.Prepare | None:
    free = unused(s.state)
    if not free:
        return None
    namespace, tokens = key(s, choose)
    return op.Prepare(free[0], tokens, namespace, choose.pick((0, 0, 1)))


def proceed(s: Situation, choose: Chooser) -> op.Proceed | None:
    if not s.state.candidates:
        return None
    load, quota = _loading(choose)
    return op.Proceed(choose.pick(s.state.candidates).name, load, quota)


def retract(s: Situation, choose: Chooser) -> op.Retract | None:
    return op.Retract(choose.pick(s.state.requests).name) if s.state.requests else None


def release_window(s: Situation, choose: Chooser) -> op.ReleaseWindow | None:
    able = [r.name for r in s.state.requests if may_release(s.state, r)]
    return op.ReleaseWindow(choose.pick(able)) if able else None


def may_release(state: Snapshot, r: Request) -> bool:
    """The legality of ``ReleaseWindow``, from the snapshot."""
    if not state.config.has_swa or r.committed < r.prompt_len:
        return False
    held = [x for x in state.receipts if (x.owner, x.name) == ("request", r.name)]
    locked = r.last_node < 0 or any(x.swa_start is not None for x in held)
    return locked and r.committed - (state.config.sliding_window - 1) >= r.protected


def prefill(s: Situation, choose: Chooser) -> op.Prefill | None:
    requests = [r for r in s.state.requests if r.committed < r.prompt_len]
    if not requests:
        return None
    request = choose.pick(requests)
    left = request.prompt_len - request.committed
    return op.Prefill(request.name, left if choose.chance(60) else choose.integer(1, left))


def decode(s: Situation, choose: Chooser) -> op.Decode | None:
    complete = _complete(s.state)
    if not complete:
        return None
    config = s.state.config
    beyond = config.sliding_window + 2 * config.page_size
    count = choose.pick((1, 2, config.page_size, config.sliding_window, beyond))
    ahead = choose.pick((0, 0, 0, 1, config.page_size, config.page_size + 1))
    return op.Decode(choose.pick(complete), (choose.integer(1, s.alphabet),) * count, ahead)


def slide_window(s: Situation, choose: Chooser) -> op.SlideWindow | None:
    """Mostly of a request that has something to give back."""
    config = s.state.config
    if not config.has_swa or not s.state.requests:
        return None
    kept = config.sliding_window + config.page_size
    able = [r for r in s.state.requests if r.committed - kept > max(r.swa_evicted, r.protected)]
    if not able and not choose.chance(15):
        return None
    return op.SlideWindow(choose.pick(able or s.state.requests).name)


def finish(s: Situation, choose: Chooser) -> op.Finish | None:
    complete = _complete(s.state)
    return op.Finish(choose.pick(complete)) if complete else None


def _complete(state: Snapshot) -> list[str]:
    return [r.name for r in state.requests if r.committed >= r.prompt_len]


def abort(s: Situation, choose: Chooser) -> op.Abort | None:
    names = [r.name for r in s.state.requests] + [c.name for c in s.state.candidates]
    return op.Abort(choose.pick(names)) if names else None


# Environment


def reset(s: Situation, choose: Chooser) -> op.Reset | None:
    state = s.state
    busy = state.requests or state.receipts or state.writes or state.loads
    return None if busy else op.Reset()


def fail_allocation(s: Situation, choose: Chooser) -> op.FailAllocation | None:
    """At most two at a time, so that something succeeds in between."""
    if sum(s.state.armed_failures.values()) > 1:
        return None
    return op.FailAllocation(choose.pick(s.state.config.pools))


WEIGHTS: dict[str, int] = {
    "insert": 10,
    "match": 3,
    "evict": 3,
    "execute": 12,
    "observe": 12,
    "load_back": 8,
    "start_loading": 3,
    "admit": 3,
    "prepare": 2,
    "proceed": 3,
    "retract": 1,
    "release_window": 2,
    "prefill": 5,
    "decode": 6,
    "slide_window": 4,
    "finish": 3,
    "lock": 1,
    "unlock": 2,
    "evict_host": 2,
    "host_lock": 1,
    "host_unlock": 2,
    "abort": 1,
    "reset": 1,
    "fail_allocation": 1,
}
"""How often each operation is tried, before the swarm changes it."""

_ALWAYS_ON = {"insert", "match", "execute", "observe", "evict"}
GENERATORS: dict[str, Generator] = {
    "match": match,
    "insert": insert,
    "lock": lock,
    "unlock": unlock,
    "host_lock": host_lock,
    "host_unlock": host_unlock,
    "evict": evict,
    "evict_host": evict_host,
    "load_back": load_back,
    "start_loading": start_loading,
    "execute": execute,
    "observe": observe,
    "admit": admit,
    "prepare": prepare,
    "proceed": proceed,
    "retract": retract,
    "release_window": release_window,
    "prefill": prefill,
    "decode": decode,
    "slide_window": slide_window,
    "finish": finish,
    "abort": abort,
    "reset": reset,
    "fail_allocation": fail_allocation,
}
