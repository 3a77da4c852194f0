"""What a release keeps of a request, by whatever name it has it.

Some fields moved from the request into ``req.kv`` in 0.5.17, the rest in 0.5.19. Records of
sessions have the same fields.
"""

from __future__ import annotations

from typing import Any

from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.release import Release


def held(req: Any, name: str) -> Any:
    return getattr(req if hasattr(req, name) else req.kv, name)


def hold(req: Any, name: str, value: Any) -> None:
    setattr(req if hasattr(req, name) else req.kv, name, value)


def protected(req: Any) -> int:
    return int(held(req, "cache_protected_len"))


def swa_evicted(built: Built, req: Any) -> int:
    if not built.config.has_swa:
        return 0
    kv = getattr(req, "kv", req)
    if kv is None:  # 0.5.17 and 0.5.18 make it with the first slots
        return 0
    if hasattr(kv, "get_evicted_seqlen"):
        return int(kv.get_evicted_seqlen(built.release.ComponentType.SWA))
    return int(kv.swa_evicted_seqlen)


def prefix_len(release: Release, req: Any) -> int:
    """Tokens of which its last match, and a load-back for it, found the KV on the device."""
    return int(req.prefix_len if release.checkpoints else len(req.prefix_indices))


def has_row(req: Any) -> bool:
    """Whether the request was part of a batch, or goes on from a session: it has slots."""
    return held(req, "req_pool_idx") is not None


def holds_lock(release: Release, req: Any) -> bool:
    """Whether a lock is the request's own; not since a session has it (0.5.22 on)."""
    return not release.checkpoints or req.lock is not None


def receipt(release: Release, req: Any) -> Any:
    """What has to be given back to release a lock that is the request's own."""
    if release.checkpoints:
        return req.lock.receipt
    return getattr(req, "lock_receipt", req)  # until 0.5.19 the mark is the request's own


def released_window(release: Release, req: Any) -> bool:
    """Whether the SWA part of the request's lock was given back early."""
    if release.checkpoints:
        return req.lock is not None and bool(req.lock.swa_released)
    return bool(getattr(req, "swa_prefix_lock_released", False))


def extend_to(release: Release, req: Any, end: int) -> None:
    """How far this forward pass has computed the request."""
    if release.checkpoints:
        req.extend_end = end
    elif hasattr(req, "set_extend_range"):
        req.set_extend_range(prefix_len(release, req), end)
    elif hasattr(req, "fill_len"):
        req.fill_len = end
    else:
        req.fill_ids = (req.origin_input_ids + req.output_ids)[:end]


def extend_end(req: Any) -> int:
    """How far the forward pass that is being prepared computes the request."""
    if hasattr(req, "extend_end"):
        return int(req.extend_end)
    if hasattr(req, "extend_range"):
        return int(req.extend_range.end)
    return int(req.fill_len if hasattr(req, "fill_len") else len(req.fill_ids))
