"""Finding the parts of a release: by what is there, never by version number."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from radixproof.impl.sglang import configuration, loader
from radixproof.impl.sglang.batches import UNPINNED, slot_of_the_row, unpinned
from radixproof.impl.sglang.device import COPY_KERNELS, DEVICE, host_memory
from radixproof.impl.sglang.kernels import AllocExtendKernel
from radixproof.impl.sglang.page_hash import page_hash
from radixproof.impl.sglang.storage_threads import CLOCK, THREADING, Log, Queue
from radixproof.model import options
from radixproof.model.config import FULL, SWA

_MEM = "sglang.srt.mem_cache"
_ON_DEVICE = (
    f"{_MEM}.hybrid_cache.hybrid_cache_controller",
    "sglang.srt.managers.cache_controller",
    f"{_MEM}.l2_transfer",
)
"""Modules that make streams and events."""
_COPYING = (
    f"{_MEM}.memory_pool_host",
    f"{_MEM}.pool_host.mha",
    f"{_MEM}.pool_host.common",
    f"{_MEM}.pool_host.mla",
    f"{_MEM}.pool_host.mamba",
)
"""Modules that copy between pools or allocate host memory."""


_WITH_THREADS = (
    "sglang.srt.managers.cache_controller",
    f"{_MEM}.hybrid_cache.hybrid_cache_controller",
)
"""Modules whose threads move pages between host and store."""
_TIMED = (*_WITH_THREADS, f"{_MEM}.unified_radix_cache", "sglang.srt.utils.poll_timer")
"""Modules that ask how long a prefetch has taken."""
PAGES_AT_ONCE = 2
"""Pages that one call to the store moves, where a server moves 128: so that a small prefetch takes
several calls, as a long one does there."""
_POOL_STATS = "sglang.srt.managers.scheduler_components.pool_stats_observer"


class NotSglang(Exception):
    """A tree whose cache cannot be imported or driven; one line that says why."""


class Release:
    """The classes and functions of one tree. One process holds one release."""

    def __init__(self, root: Path) -> None:
        """``root``: the folder that contains ``sglang/``. Raises ``NotSglang``."""
        if not (root / "sglang" / "srt" / "mem_cache").is_dir():
            raise NotSglang(f"{root} holds no SGLang: there is no sglang/srt/mem_cache")
        loader.install(root, configuration.stub_values())
        logging.disable(logging.CRITICAL)
        try:
            self._find(root)
        except loader.StubCalled as problem:
            raise NotSglang(f"the import of SGLang needs {problem}") from problem
        except Exception as problem:
            told = f"{type(problem).__name__}: {problem}".splitlines()[0]
            raise NotSglang(f"SGLang at {root} does not import: {told}") from problem
        self._stand_in()

    def _find(self, root: Path) -> None:
        cache = _module(f"{_MEM}.unified_radix_cache")
        if not hasattr(cache.UnifiedRadixCache, "init_hicache"):
            raise AttributeError("its unified cache has no host tier")
        self.UnifiedRadixCache = cache.UnifiedRadixCache
        self.components = _module(
            f"{_MEM}.unified_cache.components", f"{_MEM}.unified_cache_components"
        )
        self.ComponentType = self.components.ComponentType
        self.params = _module(f"{_MEM}.base_prefix_cache")
        self.CacheInitParams = _module(f"{_MEM}.cache_init_params").CacheInitParams
        self.RadixKey = _module(f"{_MEM}.radix_cache").RadixKey
        wanted = self.RadixKey.__init__.__annotations__.get("token_ids", "")
        self._keys_are_arrays = "array" in str(wanted)
        self.memory_pool = _module(f"{_MEM}.memory_pool")
        self.state_configs = _module("sglang.srt.configs.mamba_utils")
        self.swa_memory_pool = _module(f"{_MEM}.swa_memory_pool")
        self.allocator = _module(f"{_MEM}.allocator")
        self.SwaAllocator = (
            getattr(self.swa_memory_pool, "SWATokenToKVPoolAllocator", None)
            or _module(f"{_MEM}.allocator.swa").SWATokenToKVPoolAllocator
        )
        self.common = _module(f"{_MEM}.common")
        allocation = _module_or_none(f"{_MEM}.allocation")
        allocating = allocation if hasattr(allocation, "alloc_req_slots") else self.common
        self.alloc_req_slots = allocating.alloc_req_slots
        self.alloc_token_slots = allocating.alloc_token_slots
        self.alloc_paged_token_slots_extend = allocating.alloc_paged_token_slots_extend
        self.schedule_batch = _module("sglang.srt.managers.schedule_batch")
        self.schedule_policy = _module("sglang.srt.managers.schedule_policy")
        self.result_processor = _result_processor()
        """Looks at the results of batches; ``None`` until 0.5.12, where the scheduler does."""
        self.tracks_long_pages = "state_chunk_size" in inspect.getsource(self.schedule_batch)
        """A page may be longer than a chunk of states. Until 0.5.18 the attention backend takes the
        states at the ends of chunks for those at the ends of pages."""
        self.SamplingParams = _module("sglang.srt.sampling.sampling_params").SamplingParams
        self.context = _module_or_none("sglang.srt.runtime_context")
        self.session_controller = _session_controller(self.UnifiedRadixCache)
        """``None``: its unified cache has no streaming sessions."""
        records = hasattr(self.UnifiedRadixCache, "session_records")
        self.pool_stats: Any = _module(_POOL_STATS) if records else None
        """What counts the tokens that sessions hold, from 0.5.22 on."""
        self.frees_aborted_sessions = _frees_aborted_sessions(cache)
        """A turn that is aborted while it waits leaves its session free for the next one."""
        self.has_tree_core = hasattr(cache, "select_tree_core_backend") or hasattr(
            cache, "UnifiedTreeCore"
        )
        """Nodes are integers, and the tree lives in ``tree_core``."""
        self.checkpoints = hasattr(self.common, "checkpoint_kv_cache")
        """Requests are cached by ``checkpoint_kv_cache`` and hold a ``TreeLock``."""
        self.host_larger_than_device = _asserts_larger_host()
        self.stages_agree_on_host_size = any(
            hasattr(m, "sync_fixed_hicache_size")
            for m in _modules_there((f"{_MEM}.pool_host.base", f"{_MEM}.memory_pool_host"))
        )
        """Host pools of a fixed number of bytes have equally many slots on all stages (0.5.15)."""
        assembler = _module(f"{_MEM}.hybrid_cache.hybrid_pool_assembler")
        self.looks_at_budget_first = "adder.budget_state()" in _scheduler(cache)
        """A scheduler stops before a candidate where the round's budget is spent."""
        self.hosts_all_three = hasattr(assembler, "build_hybrid_mamba_swa_stack")
        """There are host pools for FULL, SWA and MAMBA together (from 0.5.16 on)."""
        self.has_storage = hasattr(cache.UnifiedRadixCache, "prefetch_from_storage")
        """The unified cache has a storage tier (from 0.5.13 on)."""
        self.decode_server_keeps = _decode_server_keeps(root)
        """Components of the tree that a decode server of prefill-decode disaggregation has."""
        self.options = self._options(cache)

    def _options(self, cache: Any) -> frozenset[str]:
        """Which legal differences this release has (model/options.py), by what is there."""
        locks = self.params.DecLockRefParams.__dataclass_fields__
        inserts = self.params.InsertParams.__dataclass_fields__
        source, tree = inspect.getsource(self.UnifiedRadixCache), _tree_sources(cache)
        parts = _sources(self.components)
        regains = _method(cache, "_should_backup_after_insert")
        envs = importlib.import_module("sglang.srt.environ").envs
        window = getattr(envs, "SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS", None)
        found = {
            options.SKIP_SET_LOCKS: "node_id" not in locks,
            options.ANCHORED_HOST_LOCKS: "host_uuid" not in _full_component(self.components),
            options.NO_PENDING_MARKS: "write_through_pending_id" not in tree,
            options.NO_CREATION_TIMES: "creation_time" not in tree,
            options.LISTS_LOCKED_HOST: "get_lru_no_host_lock" in parts,
            options.UNPINNED_LOADS: "inc_host_lock_ref"
            not in inspect.getsource(self.UnifiedRadixCache.load_back),
            options.BACKS_UP_WINDOWS: bool(regains),
            options.COPIES_LATER_STATES: "def needs_incremental_backup" in parts,
            options.COPIES_LATER_WINDOWS: "_collect_unbacked_swa_nodes" in parts,
            options.BACKS_UP_WHAT_IS_REGAINED: bool(regains) and "is_write_back" not in regains,
            options.SLIDES_IN_PREFILL: window is not None and bool(window.get()),
            options.STOPS_AT_BRANCHES: "swa_branching_seqlen" in self.params.MatchResult._fields,
            options.SPLITS_AT_PROMPT: "prompt_key" in source,
            options.CHUNKS_COUNT_HITS: "chunked" not in inserts,
            options.WAITS_UNLOCKED: True,
            options.TELLS_NO_EVENTS: "enable_kv_cache_events" not in tree,
            options.SHARES_BLOCKS: True,
            options.DIES_WITH_ITS_STORE: not hasattr(
                _module("sglang.srt.managers.cache_controller").HiCacheController,
                "_page_backup_or_log",
            ),
            options.SHARES_STORED_PAGES: not hasattr(
                _module(f"{_MEM}.utils"), "storage_namespace_seed"
            ),
            options.DISABLES_ELSEWHERE: not _disables_in_place(cache),
            options.STRIPS_THINKING: configuration.is_set(configuration.STRIP_THINKING),
            options.BINDS_BY_BATCH: True,
            options.COPIES_STATES_AT_ONCE: "_collect_deferred_mamba_cow_and_clear"
            not in vars(self.schedule_batch.ScheduleBatch),
            options.ONE_HOST_HIT: "swa_host_hit_length" not in self.params.MatchResult._fields,
            options.RECENCY_ALONE: "eviction_strategy" not in tree,
            options.BRANCHES_BEYOND_STATES: "mamba_boundary_len" in parts,
            options.NO_SESSIONS: self.session_controller is None,
            options.REFRESHES_ONE_STATE: "refresh_lru" in vars(self.components.MambaComponent),
        }
        return frozenset(name for name, there in found.items() if there)

    def _stand_in(self) -> None:
        """Put the stand-ins where CUDA and a compiler would be."""
        for module in _modules_there((f"{_MEM}.utils",)):
            if hasattr(module, "get_native_hash"):
                vars(module)["get_native_hash"] = page_hash
        vars(self.schedule_batch).update(alloc_for_decode=slot_of_the_row, torch=UNPINNED)
        torch.Tensor.pin_memory = unpinned  # type: ignore[assignment,method-assign]
        for module in _modules_there(_ON_DEVICE):
            if hasattr(module, "device_module"):
                vars(module)["device_module"] = DEVICE
        for module in _modules_there(_COPYING):
            vars(module).update({kernel.__name__: kernel for kernel in COPY_KERNELS})
            if hasattr(module, "ALLOC_MEMORY_FUNCS"):
                module.ALLOC_MEMORY_FUNCS["cpu"] = host_memory

        for module in _modules_there((f"{_MEM}.allocator", f"{_MEM}.allocator.paged")):
            if hasattr(module, "alloc_extend_kernel"):
                vars(module)["alloc_extend_kernel"] = AllocExtendKernel()
        for module in _modules_there(_WITH_THREADS):
            log = Log(vars(module).get("logger"))
            vars(module).update(threading=THREADING, Queue=Queue, logger=log)
            if hasattr(module, "STORAGE_BATCH_SIZE"):
                vars(module)["STORAGE_BATCH_SIZE"] = PAGES_AT_ONCE
        for module in _modules_there(_TIMED):
            if hasattr(module, "time"):
                vars(module)["time"] = CLOCK

    def decode(self) -> Any:
        """The module of decode servers, which no other server needs."""
        return _module("sglang.srt.disaggregation.decode")

    def key(self, tokens: Iterable[int], namespace: str) -> Any:
        """Tokens in the sequence type that the release compares them in (0.5.12: lists)."""
        sequence = array("q", tokens) if self._keys_are_arrays else list(tokens)
        return self.RadixKey(sequence, namespace or None)


def _scheduler(cache: Any) -> str:
    """The text of the scheduler, which is read and never run."""
    managers = Path(str(cache.__file__)).parent.parent / "managers"
    return (managers / "scheduler.py").read_text(encoding="utf-8")


def _session_controller(cache: Any) -> Any:
    carries = "try_match_prefix" in inspect.getsource(cache.match_prefix)
    return _module_or_none("sglang.srt.session.session_controller") if carries else None


def _decode_server_keeps(root: Path) -> tuple[str, ...]:
    """By the text of a module that no other server imports.

    Until 0.5.12 another interface, which is not driven. Until 0.5.18 such a server with sliding
    windows does not start with a radix cache (``kv_cache_builder``); from 0.5.19 on it has one, and
    gives back the SWA part of a prompt's lock, for the window arrives anew.
    """
    file = root / "sglang" / "srt" / "disaggregation" / "decode.py"
    source = file.read_text(encoding="utf-8") if file.is_file() else ""
    if "_build_decode_prefix_match(" not in source:
        return ()
    gives_back = "release_swa(" in source or "dec_swa_lock_only(" in source
    return (FULL, SWA) if gives_back else (FULL,)


def _frees_aborted_sessions(cache: Any) -> bool:
    """What the scheduler does with a request that it drops from its queue."""
    pattern = r"def _release_aborted_request\(.*\n((?:(?: {8}.*)?\n)+)"
    found = re.search(pattern, _scheduler(cache))
    return found is not None and "session.abort_req()" in found.group(1)


def _result_processor() -> Any:
    name = "sglang.srt.managers.scheduler_components.batch_result_processor"
    return getattr(_module_or_none(name), "SchedulerBatchResultProcessor", None)


def _sources(package: Any) -> str:
    """The text of a package's modules, to ask for a word that a feature brings."""
    folder = Path(str(package.__file__)).parent
    return "".join(p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.py")))


def _full_component(package: Any) -> str:
    """The text of the module of the FULL component."""
    return inspect.getsource(inspect.getmodule(package.FullComponent) or package)


def _method(cache: Any, name: str) -> str:
    """The text of a method of the tree; "" where there is none."""
    core = getattr(cache, "UnifiedTreeCore", cache.UnifiedRadixCache)
    return inspect.getsource(getattr(core, name)) if hasattr(core, name) else ""


def _disables_in_place(cache: Any) -> bool:
    """Whether a server whose caching is disabled has this cache (``registry.py``)."""
    registry = Path(str(cache.__file__)).parent / "registry.py"
    if not registry.is_file():
        return False
    text = registry.read_text(encoding="utf-8")
    found = re.search(r"if ctx\.disable_radix_cache:\n((?:(?: {8}.*)?\n)+)", text)
    return found is not None and "return create_unified_radix_cache" in found.group(1)


def _tree_sources(cache: Any) -> str:
    """The text of the module that has the nodes."""
    core = getattr(cache, "UnifiedTreeCore", cache.UnifiedRadixCache)
    return inspect.getsource(inspect.getmodule(core) or cache)


def accepted(function: Callable[..., Any], **wanted: Any) -> dict[str, Any]:
    """Those keyword arguments that a function takes by name."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in wanted.items() if name in known}


def _asserts_larger_host() -> bool:
    """Whether host pools must be larger than device pools (until 0.5.14)."""
    modules = _modules_there((f"{_MEM}.pool_host.base", f"{_MEM}.memory_pool_host"))
    classes = [m.HostKVCache for m in modules if hasattr(m, "HostKVCache")]
    return any("should be larger than" in inspect.getsource(c) for c in classes)


def _module(*names: str) -> Any:
    """The first of several places where a module may be."""
    missing: ModuleNotFoundError | None = None
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as problem:
            missing = problem
    assert missing is not None
    raise missing


def _module_or_none(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _modules_there(names: Iterable[str]) -> list[ModuleType]:
    return [module for name in names if (module := _module_or_none(name)) is not None]
