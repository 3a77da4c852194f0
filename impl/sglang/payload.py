"""Shadow memory in a release's KV tensors: every layer's K and V of a slot hold the token's tag."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from radixproof.impl.sglang.pools import Built
from radixproof.model.config import FULL, SWA
from radixproof.model.payload import TORN


def write(built: Built, full: Tensor, tags: Iterable[int]) -> None:
    """The forward pass: each token's KV goes into its FULL slot and the SWA slot behind it."""
    values = torch.tensor(list(tags), dtype=torch.int64)
    _store(built.layers[FULL], full, values)
    if built.config.has_swa and len(full):
        swa = built.allocator.full_to_swa_index_mapping[full]
        _store(built.layers[SWA], swa[swa > 0], values[swa > 0])


def _store(layers: list[Tensor], slots: Tensor, values: Tensor) -> None:
    for layer in layers:
        layer[slots] = values[:, None, None]


def read(layers: list[Tensor]) -> tuple[int, ...]:
    """The tag in each slot; ``TORN`` where its layers do not agree."""
    first, *others = layers
    tags = first.view(-1)
    torn = None
    for layer in others:
        differs = layer.view(-1) != tags
        torn = differs if torn is None else torn | differs
    if torn is not None and bool(torn.any()):
        tags = torch.where(torn, TORN, tags)
    return tuple(tags.tolist())
