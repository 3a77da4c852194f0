"""What clients do by themselves: match, insert, hold locks, evict and load back.

These are the calls of the release's own scheduler and of its unit tests of the unified cache, with
their argument contracts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from radixproof.impl.sglang import allocation, payload
from radixproof.impl.sglang.copies import Copies, has_free_load
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.transfers import Moves
from radixproof.model import operations as op
from radixproof.model.config import MAMBA
from radixproof.model.errors import ErrorKind, IllegalUse
from radixproof.model.operations import LOAD
from radixproof.model.payload import kv_tags
from radixproof.model.units import units

EMPTY = torch.empty((0,), dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class Held:
    """A client's lock: what has to be given back, and on which node."""

    node: Any
    receipt: Any


@dataclass(frozen=True, slots=True)
class Found:
    """What a match returned; nodes are the release's handles."""

    slots: tuple[int, ...]
    last_device_node: Any
    best_match_node: Any
    host_hit: int
    swa_host_hit: int
    mamba_host_hit: int
    branching: int


class Clients:
    """Of one cache."""

    def __init__(self, built: Built, copies: Copies) -> None:
        self.built = built
        self.config = built.config
        self.release = built.release
        self.tree = built.tree
        self.copies = copies
        self.locks: dict[str, Held] = {}
        self.host_locks: dict[str, Held] = {}

    @property
    def hold_locks(self) -> bool:
        return bool(self.locks or self.host_locks)

    def match(self, namespace: str, tokens: tuple[int, ...]) -> Found:
        params = self.release.params.MatchPrefixParams(key=self.release.key(tokens, namespace))
        found = self.tree.match_prefix(params)
        if hasattr(found, "device_indices"):
            slots = found.device_indices
        else:
            path = self.tree.path_device_indices(found.last_device_node)
            slots = path[: found.device_prefix_len]
        return Found(
            tuple(slots.tolist()),
            found.last_device_node,
            found.best_match_node,
            found.host_hit_length,
            getattr(found, "swa_host_hit_length", 0),
            getattr(found, "mamba_host_hit_length", 0),
            getattr(found, "mamba_branching_seqlen", None) or 0,
        )

    def aligned(self, tokens: tuple[int, ...]) -> int:
        """Units of a key that fill whole pages."""
        page = self.config.page_size
        return len(units(tokens, self.config.bigram)) // page * page

    def insert(self, o: op.Insert) -> dict[str, int] | None:
        """A client's own insert: what a request does that ends without having held anything.

        The outcome's values; ``None`` without memory.
        """
        allocator = self.built.allocator
        length = self.aligned(o.tokens)
        if self.config.has_mamba and not self.built.device_allocator(MAMBA).available_size():
            return None
        slots = allocation.extend(self.built, EMPTY, len(o.tokens))
        if slots is None:
            return None
        state = self._state_slot()
        tags = kv_tags(o.namespace, o.tokens, len(o.tokens), bigram=self.config.bigram)
        payload.write(self.built, slots, tags)
        if state is not None:
            payload.store(self.built.layers[MAMBA], state, torch.tensor(tags[-1:]))
        if o.swa_evicted:
            allocator.free_swa(slots[: o.swa_evicted])
        result = self.tree.insert(self._insert_params(o, slots[:length], state))
        if len(slots) > length:
            allocator.free(slots[length:])
        told = {"prefix_len": int(result.prefix_len)}
        if state is not None:
            told["state_taken"] = int(not result.mamba_exist)
            if result.mamba_exist:
                self._free_state(state)
        self.copies.submit_writes()
        return told

    def _state_slot(self) -> torch.Tensor | None:
        if not self.config.has_mamba:
            return None
        slot: torch.Tensor | None = self.built.device_allocator(MAMBA).alloc(1)
        return slot

    def _free_state(self, slot: torch.Tensor | None) -> None:
        if slot is not None:
            self.built.device_allocator(MAMBA).free(slot)

    def _insert_params(self, o: op.Insert, slots: torch.Tensor, state: torch.Tensor | None) -> Any:
        kind = self.release.params.InsertParams
        fields = kind.__dataclass_fields__
        extra: dict[str, Any] = {} if state is None else {"mamba_value": state.clone()}
        if "chunked" in fields:
            extra["chunked"] = o.chunked
        if "swa_evicted_seqlen" in fields:
            extra["swa_evicted_seqlen"] = o.swa_evicted
        elif o.swa_evicted:
            extra["component_evicted_seqlens"] = {self.release.ComponentType.SWA: o.swa_evicted}
        raw = len(slots) + self.config.bigram  # pairs share a token with their neighbours
        key = self.release.key(o.tokens[:raw], o.namespace)
        return kind(key=key, value=slots.clone(), priority=o.priority, **extra)

    # Locks

    def lock(self, holder: str, node: Any) -> int:
        if holder in self.locks:
            raise IllegalUse(ErrorKind.PROTOCOL, "the holder has a device lock")
        result = self.tree.inc_lock_ref(node)
        self.locks[holder] = Held(node, result.to_dec_params())
        return int(result.delta or 0)

    def unlock(self, holder: str) -> None:
        held = _held(self.locks, holder, "device")
        self.tree.dec_lock_ref(held.node, held.receipt)

    def host_lock(self, holder: str, node: Any) -> None:
        if holder in self.host_locks:
            raise IllegalUse(ErrorKind.PROTOCOL, "the holder has a host lock")
        result = self.tree.inc_host_lock_ref(node)
        self.host_locks[holder] = Held(node, result.to_dec_params())

    def host_unlock(self, holder: str) -> None:
        held = _held(self.host_locks, holder, "host")
        self.tree.dec_host_lock_ref(held.node, held.receipt)

    # Memory

    def evict(self, full: int, swa: int, mamba: int) -> dict[str, int]:
        """What was freed of each component there is."""
        kind = self.release.params.EvictParams
        result = self.tree.evict(kind(num_tokens=full, swa_num_tokens=swa, mamba_num=mamba))
        freed = {
            "freed_full": int(result.num_tokens_evicted),
            "freed_swa": int(result.swa_num_tokens_evicted),
        }
        if self.config.has_mamba:
            freed["freed_mamba"] = int(result.mamba_num_evicted)
        return freed

    def evict_host(self, count: int, component: str) -> int:
        kind = getattr(self.release.ComponentType, component.upper())
        return int(self.tree.evict_host(count, kind) or 0)

    def load_back(self, node: Any, quota: int | None) -> Moves | None:
        """What is queued for the node; ``None``: refused."""
        if not has_free_load(self.built):
            return None
        if not self.tree.load_back(node, quota):
            return None
        self.copies.transfers.note()
        return self.copies.transfers.of(LOAD, node if isinstance(node, int) else node.id)


def _held(locks: dict[str, Held], holder: str, tier: str) -> Held:
    if holder not in locks:
        raise IllegalUse(ErrorKind.PROTOCOL, f"the holder has no {tier} lock")
    return locks.pop(holder)
