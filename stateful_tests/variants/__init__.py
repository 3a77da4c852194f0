"""Known-wrong caches: each breaks one rule of the torch cache, and must be caught.

Nothing in the cache itself knows of them. The numbers are those of domain.md 9, from M-43 on our
own.
"""

from radixproof.stateful_tests.variants import (
    backup,
    deferred,
    events,
    eviction,
    insertion,
    keys,
    lifecycle,
    loading,
    locking,
    mamba,
    matching,
    splitting,
    write_back,
)
from radixproof.stateful_tests.variants.variant import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "Variant",
    "backup",
    "deferred",
    "events",
    "eviction",
    "insertion",
    "keys",
    "lifecycle",
    "loading",
    "locking",
    "mamba",
    "matching",
    "splitting",
    "write_back",
]
