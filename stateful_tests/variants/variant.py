"""The register of known-wrong caches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from radixproof.impl.torch_cache.cache import TorchCache
from radixproof.impl.torch_cache.subject import TorchSubject, open_torch
from radixproof.model.config import CacheConfig


@dataclass(frozen=True, slots=True)
class Variant:
    """A wrong cache; ``title`` says what it does wrong."""

    id: str
    title: str
    caught_by: tuple[str, ...]
    """Slugs of the invariants that must notice, at least one of them first."""
    cache_class: type[TorchCache]

    def open(self, config: CacheConfig) -> TorchSubject:
        subject = open_torch(config, cache_class=self.cache_class)
        subject.name = f"torch with {self.id}"
        return subject


VARIANTS: dict[str, Variant] = {}
"""Id -> variant, in the order of declaration."""


def variant(id: str, title: str, *caught_by: str) -> Callable[[type[TorchCache]], type[TorchCache]]:
    """Register a wrong cache under its number."""

    def register(cls: type[TorchCache]) -> type[TorchCache]:
        if id in VARIANTS:
            raise ValueError(f"two variants are called {id}")
        VARIANTS[id] = Variant(id, title, caught_by, cls)
        return cls

    return register
