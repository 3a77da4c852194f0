"""The cache under test, and the calls that a scheduler makes of it."""

import inspect
import os
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.common import evict_from_tree_cache
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_radix_cache import ComponentType, UnifiedRadixCache
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler

from radixproof.stateful_tests.export.parts.copies import HostLayers, HostTier

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.float16
LAYERS = 2
REQUESTS = 8
CONTEXT = 256
EMPTY = torch.empty((0,), dtype=torch.int64, device=DEVICE)


def accepted(function: Callable[..., Any], **wanted: Any) -> dict[str, Any]:
    """Those keyword arguments that a function takes in this version."""
    return {k: v for k, v in wanted.items() if k in inspect.signature(function).parameters}


Rows = Callable[["Cache"], Any]
"""Makes the table of requests."""
Pools = Callable[["Cache"], tuple[Any, dict[str, list[torch.Tensor]]]]
"""Makes an allocator, and the layers of each component, one row a slot."""
Extend = Callable[["Cache", torch.Tensor, int], torch.Tensor | None]
"""Slots for more tokens behind those of a row, as the scheduler hands them out; None: no memory."""


class Cache(HostTier):
    """A UnifiedRadixCache over small pools of its own.

    What lies in a slot is a number that stands for a namespace and the prefix that its token ends.
    """

    def __init__(
        self,
        rows: Rows,
        pools: Pools,
        extend: Extend,
        *,
        components: tuple[str, ...],
        page_size: int = 1,
        window: int = 0,
        full_slots: int,
        swa_slots: int = 0,
        eviction_policy: str = "lru",
        kv_events: bool = False,
        bigram: bool = False,
        disable: bool = False,
        **server: Any,
    ) -> None:
        """``bigram``: keys are pairs of tokens. ``server``: more server arguments."""
        self.page_size, self.window, self.extend = page_size, window, extend
        self.full_slots, self.swa_slots = full_slots, swa_slots
        self.components, self.bigram = components, bigram
        self.tags: dict[tuple[str, tuple[Any, ...]], int] = {}
        self.server = server
        self.serve()
        self.rows = rows(self)
        self.allocator, self.layers = pools(self)
        os.environ["SGLANG_UNIFIED_RADIX_TREE_CORE_BACKEND"] = "python"
        self.params = CacheInitParams(
            **accepted(
                CacheInitParams,
                disable=disable,
                req_to_token_pool=self.rows,
                token_to_kv_pool_allocator=self.allocator,
                page_size=page_size,
                sliding_window_size=window or None,
                tree_components=tuple(getattr(ComponentType, c) for c in components),
                tree_core_backend="python",
                eviction_policy=eviction_policy,
                enable_kv_cache_events=kv_events,
                is_eagle=bigram,
            )
        )
        self.tree = UnifiedRadixCache(self.params)
        self.core = getattr(self.tree, "tree_core", self.tree)
        self.host_pools = {}
        self.running: list[Any] = []
        self.sessions: dict[str, Any] = {}
        self.unbound: list[Any] = []
        self.earlier_loads: list[Any] = []
        self.inserted: tuple[str, tuple[Any, ...]] = ("", ())
        self.used: tuple[str, tuple[Any, ...]] = ("", ())
        self.swa_evicted = 0
        self.locks: list[Any] = []
        self.asked: dict[str, int] = {}
        self.acting: Any = None
        self.quota = 0

    def holders(self) -> list[Any]:
        """Who has KV of its own."""
        return self.running

    def serve(self, **more: Any) -> None:
        """Put the server arguments in force."""
        self.arguments = self.server_arguments(**self.server, **more)
        set_global_server_args_for_scheduler(self.arguments)

    def server_arguments(self, **more: Any) -> Any:
        return ServerArgs(model_path="dummy", page_size=self.page_size, **more)

    def start_hicache(
        self, layers: HostLayers, layout: str, *, load_back_threshold: int, **server: Any
    ) -> None:
        """Host pools in a layout; ``server``: their size and what is written to them when."""
        self.host_layers = layers
        self.serve(hicache_io_backend="direct", hicache_mem_layout=layout, **server)
        self.attach(self.arguments, self.params, load_back_threshold)

    def allocator_of(self, component: str) -> Any:
        if not self.swa_slots:
            return self.allocator
        name = "full_attn_allocator" if component == "FULL" else "swa_attn_allocator"
        return getattr(self.allocator, name)

    def size_of(self, component: str) -> int:
        return self.full_slots if component == "FULL" else self.swa_slots

    def units(self, tokens: Sequence[int]) -> tuple[Any, ...]:
        """What the tree makes of a key: tokens, or pairs of them."""
        return tuple(pairwise(tokens)) if self.bigram else tuple(tokens)

    def tag(self, namespace: str, units: tuple[Any, ...]) -> int:
        """The number of a prefix."""
        return self.tags.setdefault((namespace, units), len(self.tags) + 1)

    def write(self, slots: torch.Tensor, namespace: str, tokens: Sequence[int], begin: int) -> None:
        """The forward pass: the KV of the tokens from ``begin`` on goes into their slots.

        A pair's KV belongs to the token after it, too: the last is provisional.
        """
        units = self.units((*tokens, -1))
        ends = range(begin + 1, begin + len(slots) + 1)
        tags = [self.tag(namespace, units[:end]) for end in ends]
        values = torch.tensor(tags, dtype=DTYPE, device=DEVICE)[:, None, None]
        where = {"FULL": (slots, values)}
        if self.swa_slots:
            mapped = self.allocator.full_to_swa_index_mapping[slots]
            where["SWA"] = (mapped[mapped > 0], values[mapped > 0])
        for component, (at, value) in where.items():
            for layer in self.layers[component]:
                layer[at] = value

    # The tree

    def key(self, tokens: Sequence[int], namespace: str) -> Any:
        wanted = str(RadixKey.__init__.__annotations__.get("token_ids", ""))
        ids = array("q", tokens) if "array" in wanted else list(tokens)
        return RadixKey(ids, namespace or None)

    def spelled(self, key: Any) -> tuple[Any, ...]:
        """The units of a node's key; of pairs it holds one token more."""
        return self.units(key.token_ids[: len(key) + self.bigram])

    def insert(
        self,
        tokens: Sequence[int],
        *,
        namespace: str = "",
        swa_evicted: int = 0,
        priority: int = 0,
        **more: Any,
    ) -> Any:
        """Allocate, compute and hand over; the first ``swa_evicted`` tokens left their window."""
        slots = self.extend(self, EMPTY, len(tokens))
        if slots is None:
            return None
        self.write(slots, namespace, tokens, 0)
        if swa_evicted:
            self.allocator.free_swa(slots[:swa_evicted])
        units = self.units(tokens)
        length = len(units) // self.page_size * self.page_size
        fields = InsertParams.__dataclass_fields__
        if "swa_evicted_seqlen" in fields:
            more["swa_evicted_seqlen"] = swa_evicted
        elif swa_evicted:
            more["component_evicted_seqlens"] = {ComponentType.SWA: swa_evicted}
        self.used = self.inserted = (namespace, units[:length])
        self.swa_evicted = swa_evicted
        result = self.tree.insert(
            InsertParams(
                key=self.key(tokens[: length + self.bigram], namespace),
                value=slots[:length].clone(),
                priority=priority,
                **more,
            )
        )
        if len(slots) > length:
            self.allocator.free(slots[length:])
        self.submit_writes()
        return result

    def match(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        self.used = (namespace, self.units(tokens))
        return self.tree.match_prefix(MatchPrefixParams(key=self.key(tokens, namespace)))

    def node(self, tokens: Sequence[int], namespace: str = "") -> Any:
        """The handle of the node that ends at ``tokens``."""
        found, at, units = self.core.root_node, 0, self.units(tokens)
        while at < len(units):
            for child in found.children.values():
                part = self.spelled(child.key)
                if (child.key.extra_key or "") == namespace and units[at:][: len(part)] == part:
                    found, at = child, at + len(part)
                    break
            else:
                raise LookupError(f"no node ends at {list(tokens)}")
        return found.id if self.core is not self.tree else found

    def lock(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        node = self.node(tokens, namespace)
        self.locks.append((node, self.tree.inc_lock_ref(node).to_dec_params()))
        return self.locks[-1]

    def unlock(self, held: Any) -> None:
        self.locks = [lock for lock in self.locks if lock is not held]
        self.tree.dec_lock_ref(*held)

    def lock_host(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        node = self.node(tokens, namespace)
        return node, self.tree.inc_host_lock_ref(node).to_dec_params()

    def unlock_host(self, held: Any) -> None:
        self.tree.dec_host_lock_ref(*held)

    def evict(self, *, full: int = 0, swa: int = 0, mamba: int = 0) -> Any:
        asked = {"FULL": full, "SWA": swa, "MAMBA": mamba}
        self.asked = {component: count for component, count in asked.items() if count}
        return self.tree.evict(EvictParams(num_tokens=full, swa_num_tokens=swa, mamba_num=mamba))

    def evict_host(self, count: int, component: str = "FULL") -> int:
        return int(self.tree.evict_host(count, getattr(ComponentType, component)) or 0)

    def could_fit(self, tokens: int) -> bool:
        """Without so much free and evictable memory the scheduler would not try."""
        for component in self.components:
            if component == "MAMBA":
                continue
            evictable = getattr(self.tree, f"{component.lower()}_evictable_size")()
            if self.allocator_of(component).available_size() + evictable < tokens:
                return False
        return True

    def make_room(self, tokens: int) -> None:
        """What the scheduler does before it allocates."""
        evict_from_tree_cache(self.tree, tokens)

    def load_back(
        self, tokens: Sequence[int], *, namespace: str = "", quota: int | None = None
    ) -> bool:
        node = self.node(tokens, namespace)
        self.quota = quota or 0
        return self.has_free_load() and bool(self.tree.load_back(node, quota))

    def reset(self) -> None:
        self.tree.reset()
        self.rows.clear()
        self.allocator.clear()
