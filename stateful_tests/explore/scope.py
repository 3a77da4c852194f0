"""What is explored: a configuration, and how far each argument of each operation goes.

A scope is a finite universe of operations. Everything that they can reach is explored, from every
state with every legal one; docs/explore.md says what a scope leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from radixproof.model.config import COMPONENTS, FULL, MAMBA, WRITE_BACK, CacheConfig
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

    def __post_init__(self) -> None:
        """Raises ``ConfigError`` where the canonical form would merge what is not the same.

        It drops ages and hits beyond the threshold, and takes the tree's keys for tokens.
        """
        policy = self.config.eviction_policy
        if policy not in ("lru", "mru", "priority") or self.config.bigram:
            raise ConfigError(f"explore knows no {policy} eviction, and no bigram keys")


BOUNDS = ("alphabet", "longest", "requests", "holders", "failures", "device", "host", "window")
"""What can be bounded by a number; ``device`` and ``host`` are slots of each pool there."""


def bounded(scope: Scope, bounds: Mapping[str, int]) -> Scope:
    """A scope with other bounds. Raises ``ConfigError`` for one that no cache can have."""
    config = scope.config
    for name, value in bounds.items():
        if name == "device":
            config = _with_slots(config, config.components, value)
        elif name == "host":
            config = _with_slots(config, [f"host_{c}" for c in config.components], value)
        elif name == "window":
            config = replace(config, sliding_window=value)
        elif value < (1 if name in ("alphabet", "longest") else 0):
            raise ConfigError(f"{name} is too small: {value}")
        else:
            scope = replace(scope, **{name: value})  # type: ignore[arg-type]
    told = ",".join(f"{name}={value}" for name, value in bounds.items())
    return replace(scope, name=f"{scope.name} with {told}" if told else scope.name, config=config)


def _with_slots(config: CacheConfig, pools: Iterable[str], slots: int) -> CacheConfig:
    return replace(config, **{f"{pool}_slots": slots for pool in pools})  # type: ignore[arg-type]


WAITING = ("prepare", "proceed", "retract", "release_window")
"""What a request does that is not admitted at once, or gives its window back early."""

TINY = Scope(
    "tiny",
    _with_slots(
        CacheConfig(page_size=1, sliding_window=1),
        [f"{tier}{c}" for tier in ("", "host_") for c in COMPONENTS],
        2,
    ),
    operations=tuple(name for name in OPERATIONS if name not in WAITING),
    alphabet=1,
    longest=2,
    requests=1,
    holders=0,
    failures=0,
    amounts=(1,),
    limits=(None,),
    load_back=(True,),
)


def like_tiny(name: str, **changes: Any) -> Scope:
    """Another configuration in the bounds of ``tiny``."""
    return replace(TINY, name=name, config=replace(TINY.config, **changes))


SCOPES = {
    scope.name: scope
    for scope in (
        TINY,
        replace(bounded(TINY, {"host": 1}), name="waiting", operations=tuple(OPERATIONS)),
        like_tiny("write-back", write_policy=WRITE_BACK),
        like_tiny("mamba", components=(FULL, MAMBA)),
        replace(TINY, name="small", alphabet=2),
        replace(
            bounded(TINY, {"alphabet": 2, "requests": 2, "device": 6, "host": 6, "window": 2}),
            name="medium",
            longest=4,
        ),
    )
}
"""``tiny`` for every commit, the next three beside it, ``small`` for an hour, ``medium`` open."""
