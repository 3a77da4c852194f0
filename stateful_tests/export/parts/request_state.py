"""A request on a cache with recurrent states: its state slot is taken, filled and given back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sglang.srt.managers.schedule_batch import ScheduleBatch

from radixproof.stateful_tests.export.parts.requests import Request


class RequestWithState(Request):
    """Its own slot starts from a copy of a state, from what a load brings, or from zeros."""

    def refuse(self) -> Request:
        with self.as_candidate():
            super().refuse()
            self.give_state_back()
        return self

    def admit(self, *, load_back: bool = True, quota: int | None = None) -> Request:
        if not self.cache.unbound:
            loads = self.cache.acknowledgements("load")
            self.cache.earlier_loads = [a.finish_event for a in loads]
        with self.as_candidate():
            super().admit(load_back=load_back, quota=quota)
        return self

    def fits(self) -> bool:
        """The budget of an admission, with one token to decode: it would do without a load-back."""
        cache, page = self.cache, self.cache.page_size
        extend = len(self.tokens) - self.prefix_len()
        waiting = sum(len(r.tokens) - len(r.row) + 1 + page for r in cache.unbound)
        there = extend + 1 + page + waiting < self.reach("FULL")
        if there and cache.swa_slots:
            window = max(extend, cache.window) + page + getattr(self.req, "swa_host_hit_length", 0)
            there = window + waiting < self.reach("SWA")
        if there:
            cache.unbound.append(self)
        else:
            self.give_state_back()
        return there

    def reach(self, component: str) -> int:
        """Tokens that are free or evictable."""
        evictable = getattr(self.tree, f"{component.lower()}_evictable_size")()
        return int(self.cache.allocator_of(component).available_size() + evictable)

    def bind(self) -> None:
        if self in self.cache.unbound:
            super().bind()
            self.cache.unbound.remove(self)

    def compute(self, count: int) -> None:
        begin = self.committed
        super().compute(count)
        self.advance(self.tokens[begin : self.committed])

    def forget(self) -> None:
        super().forget()
        self.cache.unbound.remove(self)
        self.give_state_back()

    # The slot

    def field(self, name: str) -> Any:
        holder = self.req if hasattr(self.req, name) else getattr(self.req, "kv", None)
        return getattr(holder, name, None)

    def slot(self) -> int | None:
        held = self.field("mamba_pool_idx")
        return None if held is None else int(held)

    def source(self) -> int | None:
        """The slot that the next forward pass copies from; until 0.5.12 it is copied at once."""
        held = self.field("mamba_cow_src_index")
        return None if held is None else int(held)

    def starts_from_zeros(self) -> bool:
        """A request without a slot gets one that is zeroed, with its row."""
        return bool(self.field("mamba_needs_clear")) or self.slot() is None

    @contextmanager
    def as_candidate(self) -> Iterator[None]:
        """Around match and admission: state slots are taken as a group."""
        allocator = self.cache.allocator_of("MAMBA")
        grouped = hasattr(allocator, "alloc_group_begin")
        if grouped:
            allocator.alloc_group_begin(1)
        try:
            yield
        finally:
            if grouped:
                allocator.alloc_group_end()

    def give_state_back(self) -> None:
        """Of a candidate that is not admitted after all."""
        for name, nothing in (("mamba_cow_src_index", None), ("mamba_needs_clear", False)):
            if self.field(name) is not None:
                self.put(name, nothing)
        held = self.field("mamba_pool_idx")
        if held is not None:
            self.cache.allocator_of("MAMBA").free(held.unsqueeze(-1))
            self.put("mamba_pool_idx", None)

    def settle(self) -> None:
        """The slots of its batch are zeroed or copied to. Its own loads may not have run yet."""
        for event in self.cache.earlier_loads:
            event.synchronize()
        if self.cache.host_pools:
            counter = self.tree.cache_controller.layer_done_counter
            counter.set_consumer(counter.producer_index)
        collect = vars(ScheduleBatch).get("_collect_deferred_mamba_cow_and_clear")
        if collect is None:  # until 0.5.12
            return
        batch: Any = SimpleNamespace()
        collect(batch, [self.req, *(r.req for r in self.cache.unbound)])
        rows = self.cache.rows
        if batch.mamba_clear_indices is not None:
            rows.mamba_pool.clear_slots(batch.mamba_clear_indices)
        if batch.mamba_cow_src_indices is not None:
            copy = getattr(rows, "copy_mamba_state", rows.mamba_pool.copy_from)
            copy(batch.mamba_cow_src_indices, batch.mamba_cow_dst_indices)

    def advance(self, tokens: Sequence[int]) -> None:
        """The forward pass goes on from the state that the slot really holds."""
        cache: Any = self.cache
        space, before = cache.state_in(self.slot()) or (self.namespace, ())
        cache.write_state(self.slot(), space, (*before, *tokens))
