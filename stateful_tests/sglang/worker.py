"""The process that holds one release: reads commands, one JSON object a line, and answers.

    {"do": "walks", "first": 0, "count": 50, ...}  walk after walk until one fails
    {"do": "replay", "trace": {...}, ...}          one trace; shrunk if it fails and that is asked
    {"do": "steps", "trace": {...}}                every outcome and state along a trace

Answers: ``ready`` or ``unusable`` once; then ``run`` and ``op`` before anything runs (the journal,
from which a dead process's trace is put together), ``walked`` after each walk, and one ``done``.
Counterexamples and states travel pickled: the process that reads them started this one.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from radixproof.impl.sglang.loader import AUDIT
from radixproof.impl.sglang.pools import options_of
from radixproof.impl.sglang.ranks.subject import RankedRelease
from radixproof.impl.sglang.release import NotSglang, Release
from radixproof.impl.sglang.subject import from_release, open_sglang, where
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import Operation
from radixproof.model.options import DISABLES_ELSEWHERE, RECENCY_ALONE, TELLS_NO_EVENTS
from radixproof.model.trace import dumps, loads, operation_to_json
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.sglang.draw.server import Shape
from radixproof.stateful_tests.sglang.passable import PASSABLE
from radixproof.stateful_tests.sglang.reach import Reach
from radixproof.stateful_tests.sglang.search import BUDGET, Searcher
from radixproof.stateful_tests.verdict import Counterexample, kinds

MEMORY_BYTES = 12 << 30
"""Address space that a release may take; beyond it an allocation raises, which is a verdict."""


class Worker:
    """Answers commands about one release and core."""

    ranked_release = RankedRelease

    def __init__(self, release: Release, core: str, name: str, say: Callable[..., None]) -> None:
        self.release = release
        self.say = say
        self.open = partial(open_sglang, release, core=core, name=name)
        shape = shape_of(release)
        self.options = options_of(release, core)
        self.ranked = self.ranked_release(release, core, name)
        self.searcher = Searcher(self.open, self.options, shape, self.ranked.open, self.journal)

    def journal(self, what: CacheConfig | Operation) -> None:
        if isinstance(what, CacheConfig):
            self.say("run", config=what.to_json())
        else:
            self.say("op", op=operation_to_json(what))

    def serve(self, command: dict[str, Any]) -> None:
        perform: Callable[..., None] = getattr(self, f"_{command.pop('do')}")
        perform(**command)

    def _walks(
        self,
        first: int,
        count: int,
        limits: dict[str, Any],
        reach: dict[str, Any],
        steps: int,
        wanted: list[str],
        known: list[str],
        relation: bool,
        shrinks: bool,
    ) -> None:
        """Until a walk shows something ``wanted`` (if given) that is not ``known``."""
        bounds, far = limits_from(limits), Reach(**reach)
        searcher = replace(self.searcher, relation=relation)
        past = PASSABLE - set(wanted) if wanted else known
        for seed in range(first, first + count):
            coverage = Coverage()
            found = searcher.walk(seed, bounds, far, steps=steps, coverage=coverage, past=past)
            self.say("walked", seed=seed, found=found is not None, **coverage_json(coverage))
            new = kinds(found) - set(known) if found is not None else set()
            if found is not None and new and (not wanted or set(wanted) & set(found.slugs)):
                slugs = frozenset(wanted) or frozenset(k.split(":")[0] for k in new)
                budget = BUDGET // (1 + len(known))  # a run must not end up shrinking
                if shrinks:
                    found = searcher.shrink(found, far, slugs & frozenset(found.slugs), budget)
                self.done(found, seed=seed)
                return
        self.done(None)

    def _replay(
        self, trace: str, reach: dict[str, Any], shrink: bool, relation: bool, past: list[str]
    ) -> None:
        coverage, far = Coverage(), Reach(**reach)
        searcher = replace(self.searcher, relation=relation)
        try:
            found = searcher.replay(loads(trace), far, coverage, past)
        except ConfigError as problem:
            self.say("refused", line=str(problem))
            return
        self.say("walked", seed=-1, **coverage_json(coverage))
        if found is not None and shrink:
            found = searcher.shrink(found, far)
        self.done(found)

    def _trace(self, seed: int, limits: dict[str, Any], reach: dict[str, Any], steps: int) -> None:
        """A trace that a server could make, drawn from this subject's states; unjudged."""
        run = self.searcher.drawn(seed, limits_from(limits), Reach(**reach), steps=steps)
        self.say("done", trace=dumps(run))

    def _steps(self, trace: str, look: bool) -> None:
        """Every step of a trace, unjudged: for comparing two subjects. ``look``: states too."""
        whole = loads(trace)
        self.journal(whole.config)
        try:
            subject = self.open(whole.config)
        except ConfigError as problem:
            self.say("refused", line=str(problem))
            return
        steps = []
        for operation in whole.operations:
            self.journal(operation)
            outcome = subject.apply(operation)
            state = subject.snapshot() if look else None
            steps.append((outcome, subject.outward(), state))
        subject.close()
        self.say("done", steps=pack(steps))

    def done(self, found: Counterexample | None, **more: Any) -> None:
        self.say("done", found=pack(found), called=AUDIT.called, **more)


def shape_of(release: Release) -> Shape:
    """What configurations a release can have."""
    return Shape(
        host_larger_than_device=release.host_larger_than_device,
        tells_events=TELLS_NO_EVENTS not in release.options,
        hosts_all_three=release.hosts_all_three,
        tracks_long_pages=release.tracks_long_pages,
        decode_server_keeps=release.decode_server_keeps,
        disables_in_place=DISABLES_ELSEWHERE not in release.options,
        has_strategies=RECENCY_ALONE not in release.options,
        stages_agree_on_host_size=release.stages_agree_on_host_size,
    )


def coverage_json(c: Coverage) -> dict[str, Any]:
    outcomes = [[o, kind, n] for (o, kind), n in sorted(c.outcomes.items())]
    return {
        "steps": c.steps,
        "evaluations": c.evaluations,
        "outcomes": outcomes,
        "links": dict(c.links),
    }


def pack(what: object) -> str:
    return base64.b64encode(pickle.dumps(what)).decode("ascii")


def limits_from(raw: dict[str, Any]) -> Limits:
    components = raw.get("components")
    return Limits(**{**raw, "components": tuple(components) if components else None})


def _speaker(fd: int) -> Callable[..., None]:
    """Writes a line at once: what is said before a crash has been said."""

    def say(event: str, **more: Any) -> None:
        line = json.dumps({"event": event, **more}) + "\n"
        os.write(fd, line.encode())

    return say


def main(kind: type[Worker] = Worker) -> None:
    root, core, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever the release prints goes to stderr
    say = _speaker(answers)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    torch.set_num_threads(1)
    try:
        release = Release(root)
        worker = kind(release, core, name, say)
        worker.open(CacheConfig(host_full_slots=0, host_swa_slots=0)).snapshot()
    except (NotSglang, ConfigError) as problem:
        say("unusable", line=str(problem))
        return
    except Exception as problem:
        say("unusable", line=f"its cache cannot be opened: {where(problem)}")
        return
    say(
        "ready",
        options=sorted(worker.options),
        stubbed=dict(sorted(AUDIT.stubbed.items())),
        storage=release.has_storage,
        decode_server=release.decode_server_keeps,
    )
    for line in sys.stdin:
        try:
            worker.serve(json.loads(line))
        except Exception as problem:
            say("raised", told=where(problem), ours=not from_release(problem))
            raise


if __name__ == "__main__":
    main()
