"""What a cache is configured with (domain.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from radixproof.model.errors import ConfigError
from radixproof.model.storage import StorageConfig

FULL = "full"
SWA = "swa"
MAMBA = "mamba"
COMPONENTS = (FULL, SWA, MAMBA)
"""All components, in their fixed order."""
COMPONENT_SETS = ((FULL,), (FULL, SWA), (FULL, MAMBA), (FULL, SWA, MAMBA))
"""What a model may have. FULL is the base: all else on a node needs it on the same tier."""

WRITE_THROUGH = "write_through"
WRITE_THROUGH_SELECTIVE = "write_through_selective"
WRITE_BACK = "write_back"
NEVER = 0
WRITE_POLICIES = {WRITE_THROUGH: 1, WRITE_THROUGH_SELECTIVE: 2, WRITE_BACK: NEVER}
"""Policy -> hit count at which an insert backs a node up (domain.md 2, write_through_threshold).

``NEVER``: inserts count no hits and back nothing up; eviction does (domain.md 6.11).
"""

MOST_RANKS = 8

NO_BUFFER = "no_buffer"
EXTRA_BUFFER = "extra_buffer"
EXTRA_BUFFER_LAZY = "extra_buffer_lazy"
MAMBA_STRATEGIES = (NO_BUFFER, EXTRA_BUFFER, EXTRA_BUFFER_LAZY)
"""Which state a request hands to the tree: its own, or the last of those that it put aside in a
tracking buffer at multiples of a chunk or an interval (6.9); ``lazy``: of one slot, the second one
only while it is being written. Named as SGLang's ``--mamba-radix-cache-strategy``."""


EVICTION_POLICIES = ("lru", "mru", "lfu", "slru", "fifo", "filo", "priority")
"""Which leaf goes first (domain.md 3). Auxiliary data always goes least recently used first."""


_FLAGS = (
    "pipeline",
    "materialize_out_of_window_leaf",
    "disable",
    "bigram",
    "kv_events",
    "overlap_schedule",
    "decode_server",
    "sessions",
)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Sizes are in slots: one token's KV each, for MAMBA one state each. Device sizes leave out
    the dummy page 0.

    ``host_full_slots == 0`` means that there is no host tier (no L2).
    Raises ``ConfigError`` for a configuration that no cache can have.
    """

    components: tuple[str, ...] = (FULL, SWA)
    page_size: int = 1
    sliding_window: int = 2
    full_slots: int = 16
    swa_slots: int = 16
    host_full_slots: int = 32
    host_swa_slots: int = 32
    write_policy: str = WRITE_THROUGH
    load_back_threshold: int = 1
    materialize_out_of_window_leaf: bool = False
    mamba_slots: int = 16
    host_mamba_slots: int = 32
    mamba_chunk_size: int = 2
    """A run may checkpoint its state at multiples of so many tokens (6.1, branching)."""

    mamba_strategy: str = NO_BUFFER
    mamba_track_interval: int = 4
    """With a tracking buffer, decoding puts a state aside at multiples of so many tokens."""
    overlap_schedule: bool = False
    """The next forward pass is launched before the result of the last one is looked at."""

    kv_events: bool = False
    """Say what is stored and removed, block by block (6.14)."""
    eviction_policy: str = "lru"
    bigram: bool = False
    """Keys are pairs of adjacent tokens (EAGLE speculative decoding)."""
    max_new_tokens: int = 0
    """Output tokens that a request may have at most. With such a bound a scheduler's own budget
    decides who is admitted, and what a forward pass computes; 0: the trace does."""
    chunked_prefill_size: int = 0
    """Prompt tokens that such a scheduler puts in one batch; 0: as many as there are."""
    decode_server: bool = False
    """Prompts arrive computed, with SWA for their last window (prefill-decode disaggregation):
    ``Admit`` takes slots for the whole prompt, one ``Prefill`` is its arrival."""
    disable: bool = False
    """The cache keeps nothing: matches are empty, what is inserted is freed (domain.md 3)."""
    ranks: int = 1
    """So many caches, each with pools of its own, that do the same together (domain.md 6.13)."""
    pipeline: bool = False
    """Ranks are stages of a pipeline: the first decides, and tells the next one."""
    later_host_full_slots: int = 0
    """Of the stages after the first, where each sizes its own host pools; 0: as the first has."""
    sessions: bool = False
    """The server has streaming sessions (model/session_operations.py); a release's alone."""
    storage: StorageConfig | None = None
    """A storage tier below the host tier (domain.md 6.12); ``None``: there is none."""

    def __post_init__(self) -> None:
        for name, least in (
            ("page_size", 1),
            ("sliding_window", 1),
            ("full_slots", 1),
            ("swa_slots", 0),
            ("host_full_slots", 0),
            ("host_swa_slots", 0),
            ("load_back_threshold", 0),
            ("mamba_slots", 0),
            ("host_mamba_slots", 0),
            ("mamba_chunk_size", 1),
            ("max_new_tokens", 0),
            ("chunked_prefill_size", 0),
            ("ranks", 1),
            ("later_host_full_slots", 0),
            ("mamba_track_interval", 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} must be an integer >= {least}, not {value!r}")
        if self.components not in COMPONENT_SETS:
            known = "; ".join(",".join(c) for c in COMPONENT_SETS)
            raise ConfigError(f"components must be one of {known}, not {self.components!r}")
        if not isinstance(self.write_policy, str) or self.write_policy not in WRITE_POLICIES:
            known = ", ".join(WRITE_POLICIES)
            raise ConfigError(f"write_policy must be one of {known}, not {self.write_policy!r}")
        if self.eviction_policy not in EVICTION_POLICIES:
            known = ", ".join(EVICTION_POLICIES)
            raise ConfigError(
                f"eviction_policy must be one of {known}, not {self.eviction_policy!r}"
            )
        for flag in _FLAGS:
            if not isinstance(getattr(self, flag), bool):
                raise ConfigError(f"{flag} must be true or false")
        for name in (
            *("full_slots", "swa_slots"),
            *("host_full_slots", "host_swa_slots", "later_host_full_slots"),
        ):
            if getattr(self, name) % self.page_size:
                raise ConfigError(f"{name} must be a multiple of page_size {self.page_size}")
        if self.chunked_prefill_size % self.page_size:
            raise ConfigError(
                f"chunked_prefill_size must be a multiple of page_size {self.page_size}"
            )
        if self.chunked_prefill_size and not self.max_new_tokens:
            raise ConfigError(
                "chunked_prefill_size is a scheduler's, which max_new_tokens asks for"
            )
        for c in self.auxiliary:
            if self.pool_slots(c) == 0:
                raise ConfigError(f"{c}_slots must be at least one page when {c} is a component")
            if self.has_host and self.pool_slots(f"host_{c}") == 0:
                raise ConfigError(f"host_{c}_slots must be at least one page with a host tier")
        if self.has_mamba and self.bigram:
            raise ConfigError("bigram keys go without mamba: SGLang makes no pairs beside states")
        if self.pipeline and self.ranks == 1:
            raise ConfigError("a pipeline has two ranks or more")
        if self.later_host_full_slots and not (self.pipeline and self.has_host):
            raise ConfigError("later_host_full_slots are of a pipeline's stages with a host tier")
        if self.ranks > MOST_RANKS:
            raise ConfigError(f"ranks must be at most {MOST_RANKS}, not {self.ranks}")
        self._require_tracking()
        if self.storage is not None and not isinstance(self.storage, StorageConfig):
            raise ConfigError("storage must be a StorageConfig or None")
        if self.storage is not None and (not self.has_host or self.disable):
            raise ConfigError("a storage tier lies below a host tier: host_full_slots >= 1")

    def _require_tracking(self) -> None:
        """What a server refuses where it starts, with and without a tracking buffer."""
        if self.mamba_strategy not in MAMBA_STRATEGIES:
            known = ", ".join(MAMBA_STRATEGIES)
            raise ConfigError(f"mamba_strategy must be one of {known}, not {self.mamba_strategy!r}")
        if not self.tracks_states:
            if self.has_mamba and self.page_size != 1:
                raise ConfigError("page_size must be 1 with mamba, unless it has an extra_buffer")
            if self.overlap_schedule:
                raise ConfigError("overlap_schedule is said of mamba with an extra_buffer alone")
            return
        if not self.has_mamba:
            raise ConfigError(f"mamba_strategy {self.mamba_strategy} needs mamba as a component")
        if self.mamba_strategy == EXTRA_BUFFER_LAZY and not self.overlap_schedule:
            raise ConfigError("mamba_strategy extra_buffer_lazy needs overlap_schedule")
        if self.mamba_chunk_size < 2:
            raise ConfigError("mamba_chunk_size must be at least 2 with a tracking buffer")
        sizes = sorted((self.mamba_chunk_size, self.page_size))
        if sizes[1] % sizes[0]:
            raise ConfigError("mamba_chunk_size and page_size: one must divide the other")
        if self.mamba_track_interval % self.page_size:
            raise ConfigError("mamba_track_interval must be a multiple of page_size")

    def require_no_server(self) -> None:
        """For a cache without one. Raises ``ConfigError``."""
        if self.max_new_tokens:
            raise ConfigError("max_new_tokens asks for a scheduler's budget: SGLang has one")
        if self.sessions:
            raise ConfigError("sessions are a server's: SGLang has them")
        if self.tracks_states:
            raise ConfigError("mamba with a tracking buffer is driven on SGLang alone so far")
        if self.decode_server:
            raise ConfigError("decode_server asks for a server of SGLang")

    @property
    def of_one_rank(self) -> CacheConfig:
        """The same cache by itself."""
        return replace(self, ranks=1, pipeline=False, later_host_full_slots=0)

    @property
    def has_swa(self) -> bool:
        return SWA in self.components

    @property
    def has_mamba(self) -> bool:
        return MAMBA in self.components

    @property
    def tracks_states(self) -> bool:
        """Requests have a tracking buffer (MAMBA)."""
        return self.mamba_strategy != NO_BUFFER

    @property
    def checkpoint_grid(self) -> int:
        """Tokens between two states that a chunk of a prompt can put aside: chunks of the state,
        and whole pages, of which one is a multiple of the other.
        """
        tracks = self.has_mamba and self.tracks_states
        return max(self.mamba_chunk_size, self.page_size if tracks else 1)

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Components beside FULL, in their fixed order."""
        return self.components[1:]

    @property
    def has_host(self) -> bool:
        return self.host_full_slots > 0

    @property
    def write_through_threshold(self) -> int:
        return WRITE_POLICIES[self.write_policy]

    @property
    def counts_hits(self) -> bool:
        return self.write_through_threshold != NEVER

    @property
    def writes_back(self) -> bool:
        """A leaf is copied to the host when it is evicted, not when it is inserted."""
        return self.write_policy == WRITE_BACK and self.has_host

    @property
    def writes_through(self) -> bool:
        """Backup continuity (I-1) holds: what is on host has its whole prefix on host."""
        return self.write_policy != WRITE_BACK and self.has_host

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools that exist: the components', then ``host_`` and each of these."""
        device = self.components
        return device + tuple(f"host_{c}" for c in device) if self.has_host else device

    def pool_slots(self, pool: str) -> int:
        return int(getattr(self, f"{pool}_slots"))

    def to_json(self) -> dict[str, Any]:
        """``storage`` stands there only if there is one, so that older traces stay as they are."""
        raw = {**asdict(self), "components": list(self.components)}
        if self.storage is None:
            del raw["storage"]
        return raw

    @classmethod
    def from_json(cls, raw: object) -> CacheConfig:
        """Inverse of ``to_json``; absent fields take their defaults. Raises ``ConfigError``."""
        if not isinstance(raw, Mapping):
            raise ConfigError(f"a configuration is an object, not {type(raw).__name__}")
        unknown = sorted(set(map(str, raw)) - {f.name for f in fields(cls)})
        if unknown:
            raise ConfigError(f"unknown configuration field {unknown[0]!r}")
        values = dict(raw)
        components = values.get("components", [FULL, SWA])
        if not isinstance(components, list) or not all(isinstance(c, str) for c in components):
            raise ConfigError(f"components must be a list of names, not {components!r}")
        if values.get("storage") is not None:
            values["storage"] = StorageConfig.from_json(values["storage"])
        return cls(**{**values, "components": tuple(components)})
