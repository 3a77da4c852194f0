"""What a decode server of prefill-decode disaggregation does, beside the rules of use.py.

It computes no prompt: what it caches are prompts that arrived and what was decoded after them.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.model import operations as op
from radixproof.model.config import CacheConfig
from radixproof.model.snapshot import Snapshot

DOES = (
    *(op.Admit, op.Prefill, op.Decode, op.SlideWindow, op.Finish, op.Abort),
    *(op.Match, op.Evict, op.Reset, op.Execute, op.Observe, op.StartLoading),
)
"""Retraction copies to the CPU and back, and is not driven."""


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why no decode server would do this here; ``None``: it is legal."""
    if not state.config.decode_server:
        return None
    if not isinstance(operation, DOES):
        return "a decode server caches what arrives, and nothing else"
    if isinstance(operation, op.Admit) and len(operation.tokens) < 2:
        return "a prompt of one token is computed where it is decoded"
    if isinstance(operation, op.Decode) and operation.ahead:
        return "a decode server with a radix cache runs without speculative decoding"
    for r in state.requests:
        if isinstance(operation, op.Prefill) and r.name == operation.request:
            return (
                None if operation.count == r.prompt_len - r.committed else "it arrives as a whole"
            )
    return None


def made_legal(state: Snapshot, operation: op.Operation) -> op.Operation:
    """The same operation without the arguments that no such server gives."""
    if not state.config.decode_server:
        return operation
    if isinstance(operation, op.Decode):
        return replace(operation, ahead=0)
    for r in state.requests:
        if isinstance(operation, op.Prefill) and r.name == operation.request:
            return replace(operation, count=r.prompt_len - r.committed)
    return operation


def with_arrivals(config: CacheConfig) -> CacheConfig:
    """The same server with one tier, for prompts computed elsewhere."""
    return replace(
        config,
        decode_server=True,
        host_full_slots=0,
        host_swa_slots=0,
        bigram=False,
        disable=False,
    )
