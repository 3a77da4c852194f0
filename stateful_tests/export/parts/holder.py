"""Who holds KV: a request, or a session between two turns."""

from typing import Any

from sglang.srt.mem_cache.unified_radix_cache import ComponentType

from radixproof.stateful_tests.export.parts.cache import Cache


class Holder:
    """``req``: the record with its fields, some of which moved into ``req.kv``."""

    cache: Cache
    req: Any

    def get(self, name: str) -> Any:
        return getattr(self.req if hasattr(self.req, name) else self.req.kv, name)

    def put(self, name: str, value: Any) -> None:
        setattr(self.req if hasattr(self.req, name) else self.req.kv, name, value)

    def protected(self) -> int:
        return int(self.get("cache_protected_len"))

    def swa_evicted(self) -> int:
        kv = getattr(self.req, "kv", self.req)
        if not self.cache.swa_slots or kv is None:
            return 0
        if hasattr(kv, "get_evicted_seqlen"):
            return int(kv.get_evicted_seqlen(ComponentType.SWA))
        return int(kv.swa_evicted_seqlen)
