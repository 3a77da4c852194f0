"""The sliding window of a request that decodes: its slots are given back, and its lock of them."""

from __future__ import annotations

from typing import Any

from radixproof.impl.sglang import fields
from radixproof.impl.sglang.pools import Built
from radixproof.impl.sglang.running import Running


class Windows:
    """Of one cache."""

    def __init__(self, built: Built, batch: Any) -> None:
        """``batch``: what methods of ``ScheduleBatch`` read of ``self``."""
        self.built = built
        self.release = built.release
        self.tree = built.tree
        self.batch = batch

    def slide(self, running: Running) -> None:
        """``ScheduleBatch._evict_swa``, as the step that computed the last token began with it.

        A scheduler slides while it prepares a step (``maybe_evict_swa``, ``seqlen - 1``), and
        nothing happens to the request before that step has computed one token more.
        """
        batch = self.release.schedule_batch.ScheduleBatch
        batch._evict_swa(self.batch, running.req, running.committed - 1)

    def release_early(self, running: Running) -> bool:
        """Early release, as ``maybe_evict_swa`` does it with the flag on; False: not yet, or not
        again.
        """
        req, tree = running.req, self.tree
        decoded = running.committed - running.prompt_len
        if decoded < self.built.config.sliding_window or fields.released_window(self.release, req):
            return False
        if self.release.checkpoints:
            tree.release_swa_prefix_lock(req)
            return fields.released_window(self.release, req)
        receipt = fields.receipt(self.release, req)
        if not hasattr(tree, "dec_swa_lock_only") or receipt.swa_uuid_for_lock is None:
            return False
        if receipt is not req:
            tree.dec_swa_lock_only(req.last_node, receipt)
        elif hasattr(req, "skip_lock_node_ids"):
            tree.dec_swa_lock_only(req.last_node, req.swa_uuid_for_lock, req.skip_lock_node_ids)
        else:
            tree.dec_swa_lock_only(req.last_node, req.swa_uuid_for_lock)
        req.swa_prefix_lock_released = True
        return True
