"""The cache under test, its pools, and the calls that a scheduler makes of it."""

import atexit
import inspect
import os
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sglang.srt.mem_cache.allocator import PagedTokenToKVPoolAllocator, TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.common import evict_from_tree_cache
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_radix_cache import ComponentType, UnifiedRadixCache
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler

try:
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
except ImportError:  # until 0.5.12
    from sglang.srt.mem_cache.swa_memory_pool import SWATokenToKVPoolAllocator

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.float16
LAYERS = 2
EMPTY = torch.empty((0,), dtype=torch.int64, device=DEVICE)


def accepted(function: Callable[..., Any], **wanted: Any) -> dict[str, Any]:
    """Those keyword arguments that a function takes in this version."""
    return {k: v for k, v in wanted.items() if k in inspect.signature(function).parameters}


Pools = Callable[["Cache"], tuple[Any, dict[str, Any]]]
"""Makes an allocator, and the KV pool of each component."""
Extend = Callable[["Cache", torch.Tensor, int], torch.Tensor | None]
"""Slots for more tokens behind those of a row, as the scheduler hands them out; None: no memory."""


class Cache:
    """A UnifiedRadixCache over small pools of its own.

    Every token's KV is a number that stands for the namespace and the prefix that the token ends.
    """

    def __init__(
        self,
        pools: Pools,
        extend: Extend,
        *,
        page_size: int = 1,
        window: int = 0,
        full_slots: int,
        swa_slots: int = 0,
        eviction_policy: str = "lru",
        kv_events: bool = False,
    ) -> None:
        """``swa_slots`` 0: FULL only."""
        self.page_size, self.window, self.extend = page_size, window, extend
        self.full_slots, self.swa_slots = full_slots, swa_slots
        self.components = ("FULL", "SWA") if swa_slots else ("FULL",)
        self.tags: dict[tuple[str, tuple[int, ...]], int] = {}
        self.arguments = ServerArgs(model_path="dummy", page_size=page_size)
        set_global_server_args_for_scheduler(self.arguments)
        self.rows = ReqToTokenPool(
            size=8, max_context_len=256, device=DEVICE, enable_memory_saver=False
        )
        self.allocator, self.device_pools = pools(self)
        os.environ["SGLANG_UNIFIED_RADIX_TREE_CORE_BACKEND"] = "python"
        self.params = CacheInitParams(
            **accepted(
                CacheInitParams,
                disable=False,
                req_to_token_pool=self.rows,
                token_to_kv_pool_allocator=self.allocator,
                page_size=page_size,
                sliding_window_size=window or None,
                tree_components=tuple(getattr(ComponentType, c) for c in self.components),
                tree_core_backend="python",
                eviction_policy=eviction_policy,
                enable_kv_cache_events=kv_events,
            )
        )
        self.tree = UnifiedRadixCache(self.params)
        self.core = getattr(self.tree, "tree_core", self.tree)
        self.host_pools: dict[str, Any] = {}
        self.running: list[Any] = []
        self.inserted: tuple[str, tuple[int, ...]] = ("", ())
        self.used: tuple[str, tuple[int, ...]] = ("", ())
        self.quota = 0

    def start_hicache(self, *, ratio: float, write_policy: str, load_back_threshold: int) -> None:
        """Host pools of ``ratio`` times the device's slots."""
        self.arguments = ServerArgs(
            model_path="dummy",
            page_size=self.page_size,
            hicache_io_backend="direct",
            hicache_mem_layout="layer_first",
            hicache_write_policy=write_policy,
            hicache_ratio=ratio,
        )
        set_global_server_args_for_scheduler(self.arguments)
        self.tree.init_hicache(self.arguments, self.params)
        if hasattr(self.tree, "shutdown"):
            atexit.unregister(self.tree.shutdown)
        self.tree.load_back_threshold = load_back_threshold
        entries = self.tree.cache_controller.mem_pool_host.entry_map.items()
        pools = {str(getattr(name, "value", name)): entry.host_pool for name, entry in entries}
        names = {"FULL": "kv", "SWA": "swa"}
        self.host_pools = {c: pools[names[c]] for c in self.components}

    def allocator_of(self, component: str) -> Any:
        if not self.swa_slots:
            return self.allocator
        name = "full_attn_allocator" if component == "FULL" else "swa_attn_allocator"
        return getattr(self.allocator, name)

    def write(self, slots: torch.Tensor, namespace: str, tokens: Sequence[int], begin: int) -> None:
        """The forward pass: the KV of ``tokens[begin:]`` goes into their slots."""
        ends = [(namespace, tuple(tokens[: i + 1])) for i in range(begin, len(tokens))]
        tags = [self.tags.setdefault(end, len(self.tags) + 1) for end in ends]
        values = torch.tensor(tags, dtype=DTYPE, device=DEVICE)[:, None, None]
        where = {"FULL": (slots, values)}
        if self.swa_slots:
            mapped = self.allocator.full_to_swa_index_mapping[slots]
            where["SWA"] = (mapped[mapped > 0], values[mapped > 0])
        for component, (at, value) in where.items():
            pool = self.device_pools[component]
            for layer in (*pool.k_buffer, *pool.v_buffer):
                layer[at] = value

    # The tree

    def key(self, tokens: Sequence[int], namespace: str) -> Any:
        wanted = str(RadixKey.__init__.__annotations__.get("token_ids", ""))
        ids = array("q", tokens) if "array" in wanted else list(tokens)
        return RadixKey(ids, namespace or None)

    def insert(
        self,
        tokens: Sequence[int],
        *,
        namespace: str = "",
        swa_evicted: int = 0,
        priority: int = 0,
    ) -> Any:
        """Allocate, compute and hand over; the first ``swa_evicted`` tokens left their window."""
        slots = self.extend(self, EMPTY, len(tokens))
        if slots is None:
            return None
        self.write(slots, namespace, tokens, 0)
        if swa_evicted:
            self.allocator.free_swa(slots[:swa_evicted])
        length = len(tokens) // self.page_size * self.page_size
        fields = InsertParams.__dataclass_fields__
        evicted: dict[str, Any] = {}
        if "swa_evicted_seqlen" in fields:
            evicted["swa_evicted_seqlen"] = swa_evicted
        elif swa_evicted:
            evicted["component_evicted_seqlens"] = {ComponentType.SWA: swa_evicted}
        self.used = self.inserted = (namespace, tuple(tokens[:length]))
        result = self.tree.insert(
            InsertParams(
                key=self.key(tokens[:length], namespace),
                value=slots[:length].clone(),
                priority=priority,
                **evicted,
            )
        )
        if len(slots) > length:
            self.allocator.free(slots[length:])
        self.submit_writes()
        return result

    def match(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        self.used = (namespace, tuple(tokens))
        return self.tree.match_prefix(MatchPrefixParams(key=self.key(tokens, namespace)))

    def node(self, tokens: Sequence[int], namespace: str = "") -> Any:
        """The handle of the node that ends at ``tokens``."""
        found, at = self.core.root_node, 0
        while at < len(tokens):
            for child in found.children.values():
                part = list(child.key.token_ids[: len(child.key)])
                if (child.key.extra_key or "") == namespace and part == list(
                    tokens[at : at + len(part)]
                ):
                    found, at = child, at + len(part)
                    break
            else:
                raise LookupError(f"no node ends at {list(tokens)}")
        return found.id if self.core is not self.tree else found

    def lock(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        node = self.node(tokens, namespace)
        return node, self.tree.inc_lock_ref(node).to_dec_params()

    def unlock(self, held: Any) -> None:
        self.tree.dec_lock_ref(*held)

    def lock_host(self, tokens: Sequence[int], *, namespace: str = "") -> Any:
        node = self.node(tokens, namespace)
        return node, self.tree.inc_host_lock_ref(node).to_dec_params()

    def unlock_host(self, held: Any) -> None:
        self.tree.dec_host_lock_ref(*held)

    def evict(self, *, full: int = 0, swa: int = 0) -> Any:
        return self.tree.evict(EvictParams(num_tokens=full, swa_num_tokens=swa))

    def evict_host(self, count: int, component: str = "FULL") -> int:
        return int(self.tree.evict_host(count, getattr(ComponentType, component)) or 0)

    def make_room(self, tokens: int) -> bool:
        """What the scheduler does before it allocates; False: it would not have tried."""
        for component in self.components:
            free = self.allocator_of(component).available_size()
            evictable = getattr(self.tree, f"{component.lower()}_evictable_size")()
            if free + evictable < tokens:
                return False
        evict_from_tree_cache(self.tree, tokens)
        return True

    # Copies between device and host

    def has_free_load(self) -> bool:
        if hasattr(self.tree, "has_free_load_back_slot"):
            return bool(self.tree.has_free_load_back_slot())
        controller = self.tree.cache_controller
        return len(controller.ack_load_queue) < int(controller.layer_done_counter.num_counters)

    def load_back(
        self, tokens: Sequence[int], *, namespace: str = "", quota: int | None = None
    ) -> bool:
        node = self.node(tokens, namespace)
        self.quota = quota or 0
        return self.has_free_load() and bool(self.tree.load_back(node, quota))

    def submit_writes(self) -> None:
        """Backups are submitted at the end of a scheduler step (from 0.5.21 on)."""
        if self.host_pools and self.tree.cache_controller.write_queue:
            self.tree.cache_controller.start_writing()

    def start_loading(self) -> None:
        if self.host_pools and self.tree.cache_controller.load_queue:
            self.tree.ready_to_load_host_cache()

    def acknowledgements(self, stream: str) -> Any:
        controller = self.tree.cache_controller
        if not self.host_pools:
            return []
        return controller.ack_write_queue if stream == "write" else controller.ack_load_queue

    def run_copy(self, stream: str) -> None:
        """Wait until the oldest copy that is under way has run."""
        self.submit_writes()
        for acknowledgement in self.acknowledgements(stream):
            if not acknowledgement.finish_event.query():
                acknowledgement.finish_event.synchronize()
                return

    def run_copies(self) -> None:
        """Submit everything and wait for it; nothing is acknowledged."""
        if self.host_pools:
            self.submit_writes()
            self.start_loading()
            for stream in ("write", "load"):
                for acknowledgement in self.acknowledgements(stream):
                    acknowledgement.finish_event.synchronize()

    def observe(self, stream: str, limit: int | None = None) -> None:
        """Acknowledge what has run; beyond ``limit`` other ranks have not seen it yet."""
        self.submit_writes()
        waiting = self.acknowledgements(stream)
        unseen = [] if limit is None else waiting[limit:]
        if unseen:
            del waiting[limit:]
        if self.host_pools and stream == "write":
            self.tree.writing_check()
        elif self.host_pools:
            self.tree.loading_check()
        waiting.extend(unseen)

    def told(self) -> dict[str, set[tuple[int, ...]]]:
        """Medium -> the prefixes whose last block is there, by all events since the last call."""
        there: dict[str, set[tuple[int, ...]]] = {"GPU": set(), "CPU": set()}
        ends: dict[Any, tuple[int, ...]] = {}
        for event in self.tree.take_events():
            if not hasattr(event, "block_hashes"):  # all are cleared
                there = {medium: set() for medium in there}
                continue
            medium = str(getattr(event.medium, "value", event.medium) or "GPU").split("_")[0]
            size, stored = self.page_size, hasattr(event, "token_ids")
            end = ends.get(event.parent_block_hash, ()) if stored else ()
            for i, block in enumerate(event.block_hashes):
                if stored:
                    end += tuple(event.token_ids[i * size : (i + 1) * size])
                    ends[block] = end
                    there[medium].add(end)
                else:
                    there[medium].discard(ends[block])
        return there

    def reset(self) -> None:
        self.tree.reset()
        self.rows.clear()
        self.allocator.clear()


# Pools and slots: a test takes the functions that fit its configuration


def shape(cache: Cache) -> dict[str, Any]:
    kinds: dict[str, Any] = {"page_size": cache.page_size, "dtype": DTYPE, "device": DEVICE}
    return {**kinds, "head_num": 2, "head_dim": 64}


def full_pools(cache: Cache) -> tuple[Any, dict[str, Any]]:
    pool = full_kv_pool(cache)
    rest = {"dtype": DTYPE, "device": DEVICE, "kvcache": pool, "need_sort": False}
    return TokenToKVPoolAllocator(cache.full_slots, **rest), {"FULL": pool}


def paged_full_pools(cache: Cache) -> tuple[Any, dict[str, Any]]:
    pool = full_kv_pool(cache)
    rest = {"dtype": DTYPE, "device": DEVICE, "kvcache": pool, "need_sort": False}
    made = PagedTokenToKVPoolAllocator(cache.full_slots, cache.page_size, **rest)
    return made, {"FULL": pool}


def full_kv_pool(cache: Cache) -> Any:
    return MHATokenToKVPool(
        size=cache.full_slots, layer_num=LAYERS, enable_memory_saver=False, **shape(cache)
    )


def swa_pools(cache: Cache) -> tuple[Any, dict[str, Any]]:
    both = SWAKVPool(
        size=cache.full_slots,
        size_swa=cache.swa_slots,
        swa_attention_layer_ids=list(range(LAYERS)),
        full_attention_layer_ids=list(range(LAYERS, 2 * LAYERS)),
        **accepted(SWAKVPool.__init__, enable_kvcache_transpose=False),
        **shape(cache),
    )
    allocator = SWATokenToKVPoolAllocator(
        size=cache.full_slots,
        size_swa=cache.swa_slots,
        page_size=cache.page_size,
        dtype=DTYPE,
        device=DEVICE,
        kvcache=both,
        need_sort=False,
    )
    return allocator, {"FULL": both.full_kv_pool, "SWA": both.swa_kv_pool}


def take_tokens(cache: Cache, row: torch.Tensor, tokens: int) -> torch.Tensor | None:
    slots: torch.Tensor | None = cache.allocator.alloc(tokens)
    return slots


def take_pages(cache: Cache, row: torch.Tensor, tokens: int) -> torch.Tensor | None:
    """The rest of the page that the row has begun, then new pages."""
    begun = min(-len(row) % cache.page_size, tokens)
    fresh = -(-(tokens - begun) // cache.page_size) * cache.page_size
    if any(cache.allocator_of(c).available_size() < fresh for c in cache.components):
        return None
    rest = row[-1:] + 1 + torch.arange(begun, device=DEVICE) if begun else row[:0]
    taken = {c: cache.allocator_of(c).alloc(fresh) if fresh else EMPTY for c in cache.components}
    new = taken["FULL"][: tokens - begun]
    if cache.swa_slots:
        table = cache.allocator.full_to_swa_index_mapping
        if begun:
            table[rest] = table[row[-1:]] + 1 + torch.arange(begun, device=DEVICE)
        table[new] = taken["SWA"][: tokens - begun]
    return torch.cat([rest, new])
