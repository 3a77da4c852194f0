"""A production trace through a subject and the specification side by side.

Outcomes are compared after every step. States are compared, all state invariants evaluated and
with them every byte that a node or a running request exposes, after every ``sample``-th step and
whenever a request's prompt is complete, unless the last look is less than a quarter of that ago.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

from radixproof.invariants.checker import STATE_INVARIANTS, check_state
from radixproof.model import operations as op
from radixproof.model.config import MAMBA, CacheConfig
from radixproof.model.errors import ErrorKind
from radixproof.model.keys import ceil_page
from radixproof.model.outcome import Outcome, Status
from radixproof.model.reference import ReferenceModel
from radixproof.model.snapshot import Snapshot, agree, disagreements
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import Trace
from radixproof.stateful_tests.lockstep import describe
from radixproof.stateful_tests.mooncake import RecordedRequest
from radixproof.stateful_tests.verdict import AGREEMENT, CRASH, Counterexample, Finding


@dataclass(slots=True)
class WorkloadReport:
    """Counts are in requests, tokens or operations, as their names say."""

    requests: int = 0
    finished: int = 0
    too_large: int = 0
    """Requests that can never fit the device pool; they are left out."""
    out_of_memory: int = 0
    """Requests that were aborted because the pool had no room beside the others."""
    prompt_tokens: int = 0
    device_hit_tokens: int = 0
    host_hit_tokens: int = 0
    load_backs: int = 0
    backups: int = 0
    device_evicted_tokens: int = 0
    host_evicted_tokens: int = 0
    """Tokens whose page left the tier between two looks at the state."""
    steps: int = 0
    looks: int = 0
    evaluations: int = 0
    sample: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    counterexample: Counterexample | None = None
    seconds: float = 0.0


COPIES_PER_ROUND = 4
Progress = Callable[[WorkloadReport], None]


class Found(Exception):
    """Ends the run at the first thing that is wrong."""


def run_workload(
    requests: Iterable[RecordedRequest],
    open_subject: OpenSubject,
    config: CacheConfig,
    *,
    running: int = 4,
    chunk: int = 64,
    sample: int = 50,
    report: WorkloadReport | None = None,
    progress: Progress | None = None,
) -> WorkloadReport:
    """At most ``running`` requests at a time, prompts in chunks of ``chunk`` tokens.

    ``report`` is filled while the run goes on, so that an interrupted run keeps what it has.
    """
    report = WorkloadReport() if report is None else report
    report.sample = sample
    run = _Workload(open_subject, config, report, chunk)
    begin = perf_counter()
    try:
        for _ in run.schedule(iter(requests), running):
            report.seconds = perf_counter() - begin
            if progress is not None:
                progress(report)
    except Found:
        pass
    finally:
        report.seconds = perf_counter() - begin
        run.subject.close()
    return report


class _Workload:
    def __init__(
        self, open_subject: OpenSubject, config: CacheConfig, report: WorkloadReport, chunk: int
    ) -> None:
        self.config = config
        self.model = ReferenceModel(config)
        self.subject = open_subject(config)
        self.report = report
        self.chunk = chunk
        self.trace: list[op.Operation] = []
        self.seen = self.subject.snapshot()
        self.looked_at = 0

    def schedule(self, arriving: Iterator[RecordedRequest], running: int) -> Iterator[None]:
        """Round robin over the running requests; one yield per round."""
        lives: deque[Iterator[None]] = deque()
        more = True
        while more or lives:
            while more and len(lives) < running:
                request = next(arriving, None)
                more = request is not None
                if request is not None and self.fits(request):
                    lives.append(self.life(request))
            for _ in range(len(lives)):
                life = lives.popleft()
                if next(life, self) is not self:
                    lives.append(life)
            self.poll()
            yield
        self.look()

    def fits(self, request: RecordedRequest) -> bool:
        self.report.requests += 1
        self.report.prompt_tokens += len(request.prompt)
        need = ceil_page(len(request.prompt) + len(request.output), self.config.page_size)
        room = [self.config.pool_slots(c) for c in self.config.components if c != MAMBA]
        if need <= min(room):
            return True
        self.report.too_large += 1
        return False

    def life(self, request: RecordedRequest) -> Iterator[None]:
        """What one request does, a step at a time (domain.md 6.9)."""
        name = str(request.number)
        admitted = self.step(op.Admit(name, request.prompt))
        if admitted.status is Status.REFUSED:
            self.report.out_of_memory += 1
            return
        self.report.device_hit_tokens += admitted.values["device_hit"]
        loaded = admitted.values["loaded"]
        self.report.load_backs += loaded
        self.report.host_hit_tokens += loaded * (
            admitted.values["protected"] - admitted.values["device_hit"]
        )
        yield
        done = admitted.values["protected"]
        while done < len(request.prompt):
            count = min(self.chunk, len(request.prompt) - done)
            if self.step(op.Prefill(name, count)).status is Status.REFUSED:
                yield from self.give_up(name)
                return
            done += count
            yield
        if self.report.steps - self.looked_at >= self.report.sample / 4:
            self.look()
        for begin in range(0, len(request.output), self.config.page_size):
            tokens = request.output[begin : begin + self.config.page_size]
            if self.step(op.Decode(name, tokens)).status is Status.REFUSED:
                yield from self.give_up(name)
                return
            if self.config.has_swa:
                self.step(op.SlideWindow(name))
            yield
        self.step(op.Finish(name))
        self.report.finished += 1

    def give_up(self, name: str) -> Iterator[None]:
        self.report.out_of_memory += 1
        self.step(op.Abort(name))
        yield

    def poll(self) -> None:
        """What a scheduler does between two batches: start loads, run a few copies, take acks.

        An idle stream answers E_PROTO, which changes nothing.
        """
        self.step(op.StartLoading())
        for stream in op.STREAMS if self.config.has_host else ():
            for _ in range(COPIES_PER_ROUND):
                if self.step(op.Execute(stream)).error is not None:
                    break
            acknowledged = self.step(op.Observe(stream)).values["acknowledged"]
            self.report.backups += acknowledged if stream == op.WRITE else 0

    def step(self, operation: op.Operation) -> Outcome:
        """One operation on both; raises ``Found`` when they differ."""
        self.trace.append(operation)
        self.report.steps += 1
        self.report.operations[op.NAMES[type(operation)]] += 1
        expected = self.model.apply(operation)
        outcome = self.subject.apply(operation)
        if outcome.error is ErrorKind.INTERNAL:
            self.fail(outcome, [Finding(self.subject.name, CRASH, None, outcome.reason)])
        if outcome != expected:
            told = f"outcome {describe(outcome)}, the specification says {describe(expected)}"
            self.fail(outcome, [Finding(self.subject.name, AGREEMENT, None, told)])
        if self.report.steps % self.report.sample == 0:
            self.look()
        return expected

    def look(self) -> None:
        """Compare the states, evaluate every state invariant, read every byte in use."""
        state, wanted = self.subject.snapshot(), self.model.snapshot()
        self.report.looks += 1
        self.looked_at = self.report.steps
        findings = [
            Finding(self.subject.name, v.slug, v, v.fault.message) for v in check_state(state)
        ]
        self.report.evaluations += len(STATE_INVARIANTS)
        if not agree(state, wanted):
            lines = disagreements(state, wanted)
            findings += [Finding(self.subject.name, AGREEMENT, None, line) for line in lines]
        if findings:
            self.fail(None, findings, state)
        size = self.config.page_size
        device, host = (len(_gone(self.seen, state, tier)) for tier in ("device", "host"))
        self.report.device_evicted_tokens += device * size
        self.report.host_evicted_tokens += host * size
        self.seen = state

    def fail(
        self, outcome: Outcome | None, findings: list[Finding], after: Snapshot | None = None
    ) -> None:
        self.report.counterexample = Counterexample(
            trace=Trace(self.config, tuple(self.trace)),
            step=len(self.trace) - 1,
            operation=self.trace[-1],
            outcome=outcome,
            before=self.seen,
            after=after,
            findings=tuple(findings),
        )
        raise Found


def _gone(before: Snapshot, after: Snapshot, tier: str) -> set[tuple[str, tuple[int, ...]]]:
    """Pages, by their prefix, whose FULL data was on a tier before and is not there after.

    A page belongs to one node of each state, so nodes that both states have need no look.
    """
    then, now = _bearers(before, tier), _bearers(after, tier)
    size = before.config.page_size
    return _pages(then - now, size) - _pages(now - then, size)


def _bearers(state: Snapshot, tier: str) -> set[tuple[str, tuple[int, ...], int]]:
    """Nodes with FULL data on a tier, by prefix and start."""
    return {
        (n.namespace, n.tokens, n.start)
        for n in state.nodes
        if (n.full.device if tier == "device" else n.full.host) is not None
    }


def _pages(
    nodes: set[tuple[str, tuple[int, ...], int]], size: int
) -> set[tuple[str, tuple[int, ...]]]:
    return {
        (namespace, tokens[:end])
        for namespace, tokens, start in nodes
        for end in range(start + size, len(tokens) + 1, size)
    }
