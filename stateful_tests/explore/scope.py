"""What is explored: a configuration, and how far each argument of each operation goes.

A scope is a finite universe of operations. Everything that they can reach is explored, from every
state with every legal one; docs/explore.md says what a scope leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from radixproof.model.config import CacheConfig
from radixproof.model.errors import ConfigError
from radixproof.model.operations import OPERATIONS

EVERYTHING = -1
"""As an amount to evict: the whole pool."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Bounds; every combination of arguments within them is tried. Lengths are in tokens."""

    name: str
    config: CacheConfig
    operations: tuple[str, ...] = tuple(OPERATIONS)
    alphabet: int = 2
    """Tokens are 1 .. ``alphabet``."""
    longest: int = 2
    """Tokens of the longest key, and of the longest request with what it decoded."""
    decoded: int = 1
    """Tokens that one decode step appends at most; each step appends one token again and again."""
    requests: int = 1
    """Requests that run at a time."""
    holders: int = 1
    """Clients that hold locks at a time, per tier."""
    failures: int = 1
    """Armed allocation failures at a time."""
    failing: tuple[str, ...] | None = None
    """Pools that may fail; ``None``: every pool."""
    amounts: tuple[int, ...] = (1, EVERYTHING)
    """Tokens that one eviction asks for, per component; ``EVERYTHING`` is the whole pool."""
    limits: tuple[int | None, ...] = (None, 1)
    """Limits of an observation."""
    quotas: tuple[int | None, ...] = (None,)
    """Memory quotas of a load-back, with or without an admission."""
    load_back: tuple[bool, ...] = (True, False)
    """Whether an admission may load back."""
    chunked: tuple[bool, ...] = (False,)
    """Whether a client's insert is a chunk of a longer one."""
    priorities: tuple[int, ...] = (0,)


BOUNDS = ("alphabet", "longest", "requests", "holders", "failures", "device", "host", "window")
"""What can be bounded by a number; ``device`` and ``host`` are slots of each pool there."""


def bounded(scope: Scope, bounds: Mapping[str, int]) -> Scope:
    """A scope with other bounds. Raises ``ConfigError`` for one that no cache can have."""
    config = scope.config
    for name, value in bounds.items():
        if name == "device":
            config = replace(config, full_slots=value, swa_slots=value if config.has_swa else 0)
        elif name == "host":
            config = replace(config, host_full_slots=value, host_swa_slots=value)
        elif name == "window":
            config = replace(config, sliding_window=value)
        elif value < (1 if name in ("alphabet", "longest") else 0):
            raise ConfigError(f"{name} is too small: {value}")
        else:
            scope = replace(scope, **{name: value})  # type: ignore[arg-type]
    told = ",".join(f"{name}={value}" for name, value in bounds.items())
    return replace(scope, name=f"{scope.name} with {told}" if told else scope.name, config=config)


TINY = Scope(
    "tiny",
    CacheConfig(
        page_size=1,
        sliding_window=1,
        full_slots=2,
        swa_slots=2,
        host_full_slots=2,
        host_swa_slots=2,
    ),
    alphabet=1,
    longest=2,
    requests=1,
    holders=0,
    failures=0,
    amounts=(1,),
    limits=(None,),
    load_back=(True,),
)
SMALL = replace(TINY, name="small", alphabet=2)
MEDIUM = bounded(
    replace(TINY, name="medium"),
    {"alphabet": 2, "longest": 4, "requests": 2, "device": 6, "host": 6, "window": 2},
)
SCOPES = {scope.name: scope for scope in (TINY, SMALL, replace(MEDIUM, name="medium"))}
"""``tiny`` for every commit, ``small`` for a quarter of an hour, ``medium`` for days."""
