"""A request that runs, and what its admission found and did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(slots=True, eq=False)
class Running:
    """A request between admission and its end. ``tokens``: prompt and what was decoded."""

    name: str
    namespace: str
    tokens: tuple[int, ...]
    prompt_len: int
    priority: int
    req: Any
    row: Tensor
    """FULL slots of all allocated tokens."""
    committed: int = 0
    origin_len: int = 0
    """Tokens that it came with; a retracted request has a longer prompt."""
    session: str = ""
    """Whose turn it is; '': nobody's."""
    rejected: bool = False
    """A server's answer to a turn that it does not accept: it ends with its first chunk."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a request's match found, in tokens."""

    device_hit: int
    host_hit: int
    swa_host_hit: int
    mamba_host_hit: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admission found and did."""

    hits: Hits
    loaded: bool
