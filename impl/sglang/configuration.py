"""What a release is started with: its server arguments and the answers of stubbed names."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch

from radixproof.impl.sglang.device import COPY_KERNELS
from radixproof.model.config import EXTRA_BUFFER_LAZY, CacheConfig

PAGE_FIRST = "page_first_direct"
"""Layout of host pools beside recurrent states, whose own takes no other from 0.5.18 on."""


class Arguments:
    """The server arguments in force; a release asks for them by a global getter."""

    current: SimpleNamespace = SimpleNamespace()


def server_arguments(config: CacheConfig) -> SimpleNamespace:
    """The fields of ``ServerArgs`` that the cache reads. Copies go by the ``direct`` backend."""
    tracks, lazy = config.tracks_states, config.mamba_strategy == EXTRA_BUFFER_LAZY
    return SimpleNamespace(
        page_size=config.page_size,
        context_length=1024,
        device="cpu",
        model_path="model",
        served_model_name="model",
        hicache_io_backend="direct",
        hicache_mem_layout=PAGE_FIRST if config.has_mamba else "layer_first",
        hicache_write_policy=config.write_policy,
        hicache_ratio=host_ratio(config),
        hicache_size=0,
        hicache_host_memory_mode="cache",
        **_storage_arguments(config),
        file_storage_path=None,
        disable_hicache_numa_detect=True,
        disaggregation_mode="decode" if config.decode_server else "null",
        disaggregation_decode_enable_radix_cache=config.decode_server,
        disaggregation_decode_enable_offload_kvcache=False,
        enable_unified_memory=False,
        mamba_cache_chunk_size=config.checkpoint_grid,
        mamba_track_interval=config.mamba_track_interval,
        enable_mamba_extra_buffer=lambda: tracks,
        enable_mamba_extra_buffer_lazy=lambda: lazy,
        disable_overlap_schedule=not config.overlap_schedule,
        mamba=SimpleNamespace(
            enable_int8_mamba_checkpoint=False,
            enable_mamba_extra_buffer=tracks,
            enable_mamba_extra_buffer_lazy=lazy,
            mamba_radix_cache_strategy=config.mamba_strategy,
            mamba_max_states_per_path=-1,
            mamba_track_interval=config.mamba_track_interval,
        ),
        speculative_algorithm=_speculation(config),
        strip_thinking_cache=is_set(STRIP_THINKING),
        enable_streaming_session=config.sessions,
        enable_cache_report=False,
        enable_metrics=False,
        extra_metric_labels=None,
        chunked_prefill_size=config.chunked_prefill_size or -1,
        schedule_policy="fcfs",
        features=SimpleNamespace(enable_encoder_swa_bounded_replay=False),
        swa_full_tokens_ratio=1.0,
        enable_hisparse=False,
        disable_radix_cache=config.disable,
        dp_size=1,
        tp_size=1 if config.pipeline else config.ranks,
        pp_size=config.ranks if config.pipeline else 1,
    )


def _storage_arguments(config: CacheConfig) -> dict[str, Any]:
    """The release's own hook for stores that it does not bring along: a ``dynamic`` backend."""
    storage = config.storage
    extra = {
        "backend_name": "memory",
        "module_path": "radixproof.impl.sglang.storage_backend",
        "class_name": "MemoryStore",
        "interface_v1": int(storage is not None and storage.zero_copy),
        "prefetch_threshold": storage.prefetch_threshold if storage is not None else 256,
        "prefetch_timeout_base": LATE_AFTER,
        "prefetch_timeout_per_ki_token": 0,
        "hicache_storage_pass_prefix_keys": storage is not None and storage.prefix_keys,
    }
    return {
        "hicache_storage_backend": None if storage is None else "dynamic",
        "hicache_storage_backend_extra_config": None if storage is None else json.dumps(extra),
        "hicache_storage_prefetch_threshold": extra["prefetch_threshold"],
        "hicache_storage_prefetch_policy": (
            "best_effort" if storage is None else storage.prefetch_policy
        ),
        "hicache_storage_prefetch_retry_poll_interval": 0,
        "hicache_storage_prefetch_retry_max_attempts": 0,
    }


LATE_AFTER = 1
"""Seconds after which a prefetch is late, where that counts."""
STRIP_THINKING = "strip_thinking_cache"
"""The server argument by which only the prompt of a request that thinks is cached at its end."""


NO_OVERLAP = "disable_overlap_schedule"
"""The server argument by which a forward pass begins when the one before has been dealt with."""


def is_set(argument: str) -> bool:
    """Whether the environment of this process (``--set NAME=1``) turns a server argument on."""
    return os.environ.get(argument, "0") not in ("", "0")


def _speculation(config: CacheConfig) -> str | None:
    """Pairs are EAGLE's keys; elsewhere a draft model of its own, so that a request may end with
    slots for drafts. With states there are none.
    """
    if config.bigram:
        return "EAGLE"
    return None if config.has_mamba or config.decode_server else "STANDALONE"


def host_ratio(config: CacheConfig) -> float:
    """The ``hicache_ratio`` that gives ``host_full_slots``: releases add one page to the product.

    Releases size all host pools by this one number.
    """
    return (config.host_full_slots - config.page_size + 0.5) / config.full_slots


def host_slots(device_slots: int, ratio: float, page_size: int) -> int:
    """The host slots that a release makes of a ratio."""
    return (int(device_slots * ratio) // page_size + 1) * page_size


def of_stage(config: CacheConfig, rank: int) -> CacheConfig:
    """The pools of one stage: a server that is told gigabytes of host memory makes more slots of
    them where a token takes fewer bytes, for a stage has layers of its own."""
    if not rank or not config.later_host_full_slots:
        return config
    config = replace(config, host_full_slots=config.later_host_full_slots)
    if not config.has_swa:
        return config
    slots = host_slots(config.swa_slots, host_ratio(config), config.page_size)
    return replace(config, host_swa_slots=slots)


def _no(*_: Any, **__: Any) -> bool:
    return False


def _in_force() -> SimpleNamespace:
    return Arguments.current


def _none(*_: Any, **__: Any) -> None:
    return None


def _only_rank() -> int:
    assert Arguments.current.tp_size == 1, "several ranks have numbers of their own"
    return 0


def _state_chunk_size(arguments: SimpleNamespace) -> int:
    return int(arguments.mamba_cache_chunk_size)


def _divided(numerator: int, denominator: int) -> int:
    assert numerator % denominator == 0, "shards are equal"
    return numerator // denominator


_NOT_ON_CPU = (
    "sglang.srt.layers.quantization.fp8_kernel.is_fp8_fnuz",
    "sglang.kernels.ops.quantization.fp8_kernel.is_fp8_fnuz",
    "sglang.jit_kernel.kvcache.can_use_store_cache",
    "sglang.kernels.ops.kvcache.kvcache.can_use_store_cache",
    "sglang.jit_kernel.hicache.can_use_hicache_jit_kernel",
    "sglang.kernels.ops.kvcache.hicache.can_use_hicache_jit_kernel",
    "sglang.kernels.ops.kvcache.hicache.can_use_write_back_jit_kernel",
    "sglang.jit_kernel.utils.is_arch_support_pdl",
    "sglang.srt.layers.dp_attention.is_dp_attention_enabled",
    "sglang.srt.layers.attention.nsa.utils.is_nsa_prefill_cp_in_seq_split",
    "sglang.srt.layers.attention.dsa.utils.is_dsa_prefill_cp_in_seq_split",
    "sglang.srt.layers.utils.cp_utils.is_prefill_context_parallel_enabled",
    "sglang.srt.layers.attention.dsa.utils.aiter_can_use_preshuffle_paged_mqa",
    "sglang.srt.layers.attention.dsv4.unified_kv_gate.is_unified_kv_triton",
    "sglang.kernels.ops.attention.dsv4.unified_kv_kernels.env_gate.is_unified_kv_triton",
)
"""Questions about kernels and parallelism whose answer on one CPU is no."""


def _undecorated(*_: Any, **__: Any) -> Any:
    return lambda function: function


def stub_values() -> dict[str, Any]:
    """Full name of a stubbed name -> what it is here. Everything else of a stub raises."""
    fp8 = (
        "sglang.srt.layers.quantization.fp8_kernel",
        "sglang.kernels.ops.quantization.fp8_kernel",
    )
    return {
        **dict.fromkeys(_NOT_ON_CPU, _no),
        **{f"{module}.fp8_dtype": torch.float8_e4m3fn for module in fp8},
        **_alone(),
        "sglang.srt.distributed.parallel_state.get_dcp_group_no_assert": _none,
        # A hook that does nothing where the allocators of one NPU model are absent (0.5.14 on).
        "sglang.srt.hardware_backend.npu.dsv4.dsv4_common_hooks.maybe_evict_dsv4_state_on_swa": (
            _none
        ),
        # Rows of beams join and leave a decode batch; there are no beams.
        "sglang.srt.beam_search.batch_tail.strip_beam_tail": _none,
        "sglang.srt.beam_search.batch_tail.append_beam_tail": _none,
        "sglang.srt.observability.scheduler_stage_metrics.scheduler_stage_method": _undecorated,
        "sglang.srt.server_args.get_global_server_args": _in_force,
        "sglang.srt.managers.io_struct.OpenSessionReqOutput": _none,
        # Until 0.5.17 a rejected turn is written to the log of the first rank.
        "sglang.srt.distributed.parallel_state.get_tensor_model_parallel_rank": _only_rank,
        "sglang.srt.arg_groups.overrides.mamba_cache_chunk_size": _state_chunk_size,
        "sglang.srt.distributed.utils.divide": _divided,
        **{f"sgl_kernel.kvcacheio.{kernel.__name__}": kernel for kernel in COPY_KERNELS},
    }


def _alone() -> dict[str, Any]:
    """Which rank of how many this is, as releases until 0.5.16 ask for a storage tier."""
    places = ("sglang.srt.distributed", "sglang.srt.distributed.parallel_state")
    kinds = [f"{place}.get_{k}_model_parallel" for place in places for k in ("tensor", "pipeline")]
    return {f"{k}_rank": _zero for k in kinds} | {f"{k}_world_size": _one for k in kinds}


def _zero() -> int:
    return 0


def _one() -> int:
    return 1


_BAGS = (
    "device",
    "disagg",
    "exec",
    "lora",
    "memory",
    "model",
    "observability",
    "schedule",
    "serving",
    "spec",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands in its server: among ranks that share every layer, or stages that
    have their own."""

    rank: int = 0
    ranks: int = 1
    pipeline: bool = False

    def layout(self) -> dict[str, Any]:
        """The answers of a release's ``get_parallel()``."""
        kinds = ("tp", "pp", "dp", "attn_tp", "attn_cp", "attn_dcp")
        mine = ("pp",) if self.pipeline else ("tp", "attn_tp")
        spread = {kind: self if kind in mine else ALONE for kind in kinds}
        return {
            **{f"{kind}_size": place.ranks for kind, place in spread.items()},
            **{f"{kind}_rank": place.rank for kind, place in spread.items()},
            "dcp_enabled": False,
            "launch_world_size": self.ranks,
            "nnodes": 1,
        }


ALONE = Place()


def publish(context: Any, arguments: SimpleNamespace, place: Place = ALONE) -> None:
    """Put the arguments in force. ``context``: the release's ``runtime_context`` or ``None``.

    Newer releases read them from named bags of that module, older ones from one object.
    """
    Arguments.current = arguments
    if context is None or not hasattr(context, "_CONTEXT"):
        return
    with suppress(AttributeError):  # 0.5.14 keeps none
        context._CONTEXT._server_args = arguments
    with suppress(AttributeError):  # 0.5.14 keeps no ranks there
        context._PARALLEL._overrides.update(place.layout())
    if not hasattr(context, "_ConfigBag"):
        return
    bags = {}
    for name in _BAGS:
        bags[name] = context._ConfigBag(name)
        for field, value in vars(arguments).items():
            bags[name]._set(field, value)
    context._CONTEXT._config_bags = bags
