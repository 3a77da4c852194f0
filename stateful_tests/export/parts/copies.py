"""Copies between device and host: submitted, run, acknowledged."""

import atexit
from collections.abc import Callable
from typing import Any

import torch

HostLayers = Callable[[Any], list[torch.Tensor]]
"""K and V of each layer of a host pool, one row a slot."""


def layer_first(pool: Any) -> list[torch.Tensor]:
    return [*pool.k_data_refs, *pool.v_data_refs]


class HostTier:
    """HiCache of a ``tree``; until it is started there are no host pools."""

    tree: Any
    host_pools: dict[str, Any]
    host_layers: HostLayers

    def attach(self, arguments: Any, params: Any, load_back_threshold: int) -> None:
        self.tree.init_hicache(arguments, params)
        if hasattr(self.tree, "shutdown"):
            atexit.unregister(self.tree.shutdown)
        self.tree.load_back_threshold = load_back_threshold
        entries = self.tree.cache_controller.mem_pool_host.entry_map.items()
        names = {"kv": "FULL", "swa": "SWA", "mamba": "MAMBA"}
        pools = {str(getattr(name, "value", name)): entry.host_pool for name, entry in entries}
        self.host_pools = {names[name]: pool for name, pool in pools.items() if name in names}

    def has_free_load(self) -> bool:
        if hasattr(self.tree, "has_free_load_back_slot"):
            return bool(self.tree.has_free_load_back_slot())
        controller = self.tree.cache_controller
        return len(controller.ack_load_queue) < int(controller.layer_done_counter.num_counters)

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
