"""Copies of a cache, so that every edge of a state starts from that state.

A cache has no undo. Its bytes are taken once per state and made into a new object once per edge,
which costs a tenth of a millisecond; replaying the trace would cost its whole length, and
``copy.deepcopy`` eight times as much. A counterexample is replayed from the empty cache before it
is reported, so no report rests on a copy.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from typing import Any

import torch
from torch import Tensor

from radixproof.model.subject import Subject
from radixproof.stateful_tests.explore.errors import NotCopyable


def freeze(subject: Subject) -> bytes:
    """The whole of a cache as bytes. Raises ``NotCopyable``."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {**copyreg.dispatch_table, Tensor: _of_tensor}
    try:
        pickler.dump(subject)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        raise NotCopyable(f"{subject.name} cannot be explored: no copies, {problem}") from None
    return buffer.getvalue()


def thaw(frozen: bytes) -> Any:
    """A new cache in the state that was frozen; it shares nothing with any other."""
    return pickle.loads(frozen)


def _of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    """Plain bytes: what torch does by itself is made for large tensors."""
    return _to_tensor, (tensor.numpy().tobytes(), tensor.dtype, tuple(tensor.shape))


def _to_tensor(raw: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not raw:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=dtype).view(shape)
