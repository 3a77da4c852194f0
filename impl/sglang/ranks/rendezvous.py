"""Processes that run side by side and meet in collectives.

Contract kept: a rank that calls a collective waits until every rank of the group has called the
same one; then all go on with the same result. Who sends goes on at once; who receives waits for
the first message that was sent to it and not received. What is free in a deployment, who comes
first, makes no difference here: ranks share nothing else, so a round has one outcome whatever the
order.

A round ends when every rank has answered, or when none can go on: one waits for another that has
answered already, or that called something else. Then all are stopped, and what each called is told.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any

from radixproof.model.ranks import RECV, SEND, Collective

CALL = "call"
ANSWER = "answer"
FAULT = "fault"
FORK = multiprocessing.get_context("fork")

Values = list[Any]
Ask = Callable[[Collective, Values], Values]
"""A collective with this rank's values; what it yields on every rank."""
Serve = Callable[[Any], Any]
MakeServe = Callable[[int, Ask], Serve]
"""Made once in the process of each rank: takes commands, gives answers."""

REDUCTIONS: Mapping[str, Callable[[Any], Any]] = {"MIN": min, "MAX": max, "SUM": sum}


class RankEnded(Exception):
    """The process of a rank is gone; ``told``: how it ended, "was killed by signal 9"."""

    def __init__(self, rank: int, told: str) -> None:
        super().__init__(f"the process of rank {rank} {told}")
        self.rank, self.told = rank, told


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one command to each rank."""

    answers: Mapping[int, Any]
    """Of the ranks that came to an end."""
    calls: tuple[tuple[Collective, ...], ...]
    """By rank, in order; the last of a rank without an answer is the one that it waits in."""


class Ranks:
    """So many processes, forked from this one; not shared between threads."""

    def __init__(self, count: int, make: MakeServe) -> None:
        self.count = count
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for rank in range(count):
            here, there = FORK.Pipe()
            inherited = [*self._pipes, here]
            process = FORK.Process(
                target=_run, args=(rank, there, inherited, make), daemon=True, name=f"rank {rank}"
            )
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def perform(self, commands: Mapping[int, Any]) -> Round:
        """Give commands to some ranks and wait for all of these. Raises ``RankEnded``."""
        for rank, command in commands.items():
            self._send(rank, command)
        running = set(commands)
        answers: dict[int, Any] = {}
        waiting: dict[int, tuple[Collective, Values]] = {}
        mail: list[tuple[int, Collective, Values]] = []
        """Sender, call and values of what has not been received."""
        calls: list[list[Collective]] = [[] for _ in self._pipes]
        while running or waiting:
            for rank in sorted(running):
                kind, *told = self._receive(rank)
                while kind == CALL and told[0].kind == SEND:
                    calls[rank].append(told[0])
                    mail.append((rank, told[0], told[1]))
                    self._send(rank, [])
                    kind, *told = self._receive(rank)
                if kind == ANSWER:
                    answers[rank] = told[0]
                else:
                    waiting[rank] = (told[0], told[1])
                    calls[rank].append(told[0])
            running = self._delivered(waiting, mail) or self._met(waiting)
            if waiting and not running:
                self.close()
                break
        return Round(answers, tuple(map(tuple, calls)))

    def _delivered(
        self,
        waiting: dict[int, tuple[Collective, Values]],
        mail: list[tuple[int, Collective, Values]],
    ) -> set[int]:
        """Give those who wait for a message the first that was sent to them; who runs again."""
        freed: set[int] = set()
        for rank, (call, _) in list(waiting.items()):
            theirs = [m for m in mail if (m[0], m[1].peer) == (call.peer, rank)]
            if call.kind == RECV and theirs and call.answers(theirs[0][1]):
                mail.remove(theirs[0])
                del waiting[rank]
                self._send(rank, theirs[0][2])
                freed.add(rank)
        return freed

    def _met(self, waiting: dict[int, tuple[Collective, Values]]) -> set[int]:
        """Complete the collective that all ranks have called alike; who runs again."""
        if len(waiting) < self.count or len({call for call, _ in waiting.values()}) > 1:
            return set()
        result = _result(waiting[0][0], [waiting[r][1] for r in range(self.count)])
        waiting.clear()
        for rank in range(self.count):
            self._send(rank, result)
        return set(range(self.count))

    def _send(self, rank: int, what: Any) -> None:
        try:
            self._pipes[rank].send(what)
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended(rank) from None

    def _receive(self, rank: int) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self._pipes[rank].recv()
        except (EOFError, ConnectionResetError):
            raise self._ended(rank) from None
        if message[0] == FAULT:
            self.close()
            raise RuntimeError(f"rank {rank} could not answer: {message[1]}")
        return message

    def _ended(self, rank: int) -> RankEnded:
        process = self._processes[rank]
        process.join()
        code = process.exitcode or 0
        told = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self.close()
        return RankEnded(rank, told)

    @property
    def closed(self) -> bool:
        return not self._processes

    def close(self) -> None:
        """Stop all ranks, wherever they are."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []


def _result(call: Collective, values: list[Values]) -> Values:
    """What every rank gets; ``values`` by rank."""
    if call.kind == "all_reduce":
        return [REDUCTIONS[call.reduction](column) for column in zip(*values, strict=True)]
    if call.kind == "broadcast":
        return values[int(call.reduction)]
    return []


def _run(rank: int, pipe: Connection, inherited: list[Connection], make: MakeServe) -> None:
    """The process of a rank; it ends with its pipe."""
    for other in inherited:
        other.close()

    def ask(call: Collective, values: Values) -> Values:
        pipe.send((CALL, call, values))
        result: Values = pipe.recv()
        return result

    heap = _heap_of(rank)  # held for as long as the process lives
    serve = make(rank, ask)
    while heap:
        try:
            command = pipe.recv()
        except EOFError:
            return
        try:
            answer = serve(command)
        except Exception as problem:  # of what serves, which takes those of a release for answers
            pipe.send((FAULT, f"{type(problem).__name__}: {problem}"))
            return
        pipe.send((ANSWER, answer))


def _heap_of(rank: int) -> list[Any]:
    """Holes in the heap of this process that no other rank has in the same places.

    Forked processes would hand out the same addresses; what is decided by an address, such as the
    order of a set of nodes, would be decided alike on all ranks, as it is in no deployment.
    """
    scatter = Random(rank)
    made = [bytearray(16 * size) for _ in range(300) for size in range(1, 32)]
    return [kept for kept in made if scatter.random() < 0.5]
