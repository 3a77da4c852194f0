"""Several ranks of a release as one subject: each operation goes to all that it concerns.

Every rank is a process with its own copy of the release, its own pools, counters and clocks, as in
a deployment. The scheduler gives all of them the same requests; what differs between them is when
their copies run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from radixproof.impl.sglang.configuration import Place, of_stage
from radixproof.impl.sglang.loader import AUDIT
from radixproof.impl.sglang.ranks.collectives import Collectives
from radixproof.impl.sglang.ranks.rendezvous import Ask, RankEnded, Ranks, Serve
from radixproof.impl.sglang.release import Release
from radixproof.impl.sglang.subject import SglangSubject, open_sglang
from radixproof.impl.sglang.wheels import RUST
from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError, ErrorKind
from radixproof.model.outcome import Outcome, error
from radixproof.model.ranks import Collective
from radixproof.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Performed:
    """What one rank did. ``after`` is ``None`` where nothing can be seen any more."""

    outcome: Outcome
    after: Snapshot | None
    complaint: str | None = None
    """Of the release's own check of its state."""
    traceback: str = ""
    stubs: tuple[str, ...] = ()
    """What the release called that is only a stub here."""


@dataclass(frozen=True, slots=True)
class Together:
    """What the ranks did with one operation."""

    performed: Mapping[int, Performed]
    """Of the ranks that came to an end with it."""
    calls: tuple[tuple[Collective, ...], ...]
    """By rank; the last of a rank that came to no end is the one that it waits in."""


class _Rank:
    """In the process of a rank: opens caches and performs operations."""

    def __init__(self, release: Release, core: str, name: str, ranks: int, rank: int) -> None:
        self.open = partial(open_sglang, release, core=core)
        self.rank, self.ranks = rank, ranks
        self.name = f"{name}, rank {rank}"
        self.subject: SglangSubject | None = None

    def __call__(self, command: CacheConfig | op.Operation) -> Any:
        if isinstance(command, CacheConfig):
            return self._opened(command)
        assert self.subject is not None, "a cache is opened before it is used"
        return self._performed(self.subject, command)

    def _opened(self, config: CacheConfig) -> Snapshot | str:
        try:
            place = Place(self.rank, self.ranks, config.pipeline)
            mine = of_stage(config, self.rank)
            self.subject = self.open(mine, name=self.name, place=place)
        except ConfigError as problem:
            return str(problem)
        return self.subject.snapshot()

    def _performed(self, subject: SglangSubject, operation: op.Operation) -> Performed:
        outcome = subject.apply(operation)
        stubs = tuple(AUDIT.called)
        if outcome.error is ErrorKind.INTERNAL:
            return Performed(outcome, None, None, subject.traceback, stubs)
        try:
            after = subject.snapshot()
        except Exception as problem:
            told = f"the state cannot be read: {type(problem).__name__}: {problem}"
            return Performed(error(ErrorKind.INTERNAL, told), None, stubs=stubs)
        # the release's own check is for a state without load-backs
        complaint = None if after.loads else subject.check_itself()
        return Performed(outcome, after, complaint, stubs=stubs)


class RankedRelease:
    """A release whose ranks can be brought up, as often as they get stuck."""

    def __init__(self, release: Release, core: str, name: str) -> None:
        self.release, self.core, self.name = release, core, name
        self._ranks: Ranks | None = None

    def open(self, config: CacheConfig) -> RankedSubject:
        """Empty caches. Raises ``ConfigError`` for what the release cannot be."""
        if self.core == RUST:
            raise ConfigError("several ranks go with --core python")
        return RankedSubject(self._up(config.ranks), config, self.name)

    def _up(self, count: int) -> Ranks:
        if self._ranks is None or self._ranks.closed or self._ranks.count != count:
            self.close()
            self._ranks = Ranks(count, partial(self._make, count))
        return self._ranks

    def _make(self, count: int, rank: int, ask: Ask) -> Serve:
        Collectives(ask).install()
        return _Rank(self.release, self.core, self.name, count, rank)

    def close(self) -> None:
        if self._ranks is not None:
            self._ranks.close()
            self._ranks = None


class RankedSubject:
    """Brings the caches of all ranks through a trace."""

    def __init__(self, ranks: Ranks, config: CacheConfig, name: str) -> None:
        self.name = name
        self.ranks = ranks
        opened = ranks.perform(dict.fromkeys(range(ranks.count), config)).answers
        told = [answer for answer in opened.values() if isinstance(answer, str)]
        if told:
            ranks.close()  # those that could open one are a cache ahead
            raise ConfigError(told[0])
        self.states: tuple[Snapshot, ...] = tuple(opened[r] for r in range(ranks.count))
        """Of the empty caches."""

    def apply(self, operation: op.Operation) -> Together:
        """Raises ``RankEnded`` if the process of a rank did not survive it."""
        concerned: list[int] = list(range(self.ranks.count))
        if isinstance(operation, op.Execute) and operation.rank is not None:
            concerned = [operation.rank]
            operation = replace(operation, rank=None)
        found = self.ranks.perform(dict.fromkeys(concerned, operation))
        AUDIT.called += sorted(
            {s for p in found.answers.values() for s in p.stubs} - {*AUDIT.called}
        )
        return Together(found.answers, found.calls)

    def give_up(self) -> None:
        """Ranks that went apart count nodes and copies differently, for as long as they live."""
        self.ranks.close()


__all__ = ["Performed", "RankEnded", "RankedRelease", "RankedSubject", "Together"]
