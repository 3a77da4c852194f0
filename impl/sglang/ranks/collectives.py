"""Stand-ins for ``torch.distributed`` in the process of one rank.

A call becomes a ``Collective`` and is made through ``Ask`` (rendezvous.py). What is not listed here
raises: it can stop a run, never change one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed
from torch import Tensor

from radixproof.impl.sglang.loader import AUDIT, StubCalled
from radixproof.impl.sglang.ranks.rendezvous import Ask, Values
from radixproof.model.ranks import RECV, SEND, Collective

FRAMES = 4
"""Innermost frames of the release that a call keeps."""

_ABSENT = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_to_all",
    "all_to_all_single",
    "broadcast_object_list",
    "gather",
    "gather_object",
    "irecv",
    "new_group",
    "reduce",
    "reduce_scatter",
    "scatter",
    "send",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Stands for a ``ProcessGroup``: ``size`` ranks, of which this process is ``rank``."""

    name: str
    rank: int
    size: int


class Collectives:
    """The functions, for one rank."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def install(self) -> None:
        """Put them where the release looks."""
        there = vars(torch.distributed)
        for name in ("all_reduce", "barrier", "broadcast", "isend", "recv"):
            there[name] = getattr(self, name)
        there["get_world_size"] = lambda group=None: _group(group).size
        there["get_rank"] = lambda group=None: _group(group).rank
        there["get_process_group_ranks"] = lambda group=None: list(range(_group(group).size))
        there.update({name: _absent(name) for name in _ABSENT})

    def all_reduce(
        self, tensor: Tensor, op: Any = None, group: Any = None, async_op: bool = False
    ) -> None:
        _now(async_op)
        reduction = "SUM" if op is None else str(op).rsplit(".", 1)[-1]
        self._over("all_reduce", reduction, tensor, group)

    def broadcast(
        self,
        tensor: Tensor,
        src: int | None = None,
        group: Any = None,
        async_op: bool = False,
        group_src: int | None = None,
    ) -> None:
        _now(async_op)
        source = group_src if src is None else src
        self._over("broadcast", str(source or 0), tensor, group)

    def barrier(self, group: Any = None, async_op: bool = False, **_: Any) -> None:
        _now(async_op)
        self.ask(Collective("barrier", _group(group).name, where=_where()), [])

    def isend(
        self,
        tensor: Tensor,
        dst: int | None = None,
        group: Any = None,
        tag: int = 0,
        group_dst: int | None = None,
    ) -> Sent:
        peer = group_dst if dst is None else dst
        self.ask(_call(SEND, f"tag {int(tag)}", tensor, group, peer), tensor.flatten().tolist())
        return Sent()

    def recv(
        self,
        tensor: Tensor,
        src: int | None = None,
        group: Any = None,
        tag: int = 0,
        group_src: int | None = None,
    ) -> int | None:
        peer = group_src if src is None else src
        _fill(tensor, self.ask(_call(RECV, f"tag {int(tag)}", tensor, group, peer), []))
        return peer

    def _over(self, kind: str, reduction: str, tensor: Tensor, group: Any) -> None:
        values = tensor.flatten().tolist()
        _fill(tensor, self.ask(_call(kind, reduction, tensor, group), values))


class Sent:
    """Stands for the ``Work`` of a send, which takes no time."""

    def is_completed(self) -> bool:
        return True

    def wait(self, *_: Any) -> bool:
        return True


def _call(
    kind: str, reduction: str, tensor: Tensor, group: Any, peer: int | None = None
) -> Collective:
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = tuple(tensor.shape)
    return Collective(kind, _group(group).name, reduction, shape, dtype, peer, _where())


def _fill(tensor: Tensor, values: Values) -> None:
    tensor.copy_(torch.tensor(values, dtype=tensor.dtype).view(tensor.shape))


def _group(group: Any) -> Group:
    if isinstance(group, Group):
        return group
    raise _stub_called("torch.distributed without a group of the cache")


def _now(async_op: bool) -> None:
    if async_op:
        raise _stub_called("torch.distributed with async_op")


def _absent(name: str) -> Callable[..., NoReturn]:
    def call(*_: Any, **__: Any) -> NoReturn:
        raise _stub_called(f"torch.distributed.{name}")

    return call


def _stub_called(name: str) -> StubCalled:
    AUDIT.called.append(name)
    return StubCalled(f"{name} is outside the allow-list and was called")


def _where() -> str:
    """The release's own frames below this call, innermost first."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(found) < FRAMES:
        code = frame.f_code
        if "/sglang/srt/" in code.co_filename:
            file = code.co_filename.rsplit("/", 1)[-1]
            found.append(f"{file}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return ", from ".join(found)
