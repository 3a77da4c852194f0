"""Shadow memory in a release's tensors: every layer's K and V of a slot hold the token's tag, every
part of a state the tag of its prefix."""

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
    store(built.layers[FULL], full, values)
    if built.config.has_swa and len(full):
        swa = built.allocator.full_to_swa_index_mapping[full]
        store(built.layers[SWA], swa[swa > 0], values[swa > 0])


def store(layers: list[Tensor], slots: Tensor, values: Tensor) -> None:
    """The same tag into every element of every layer of a slot."""
    for layer in layers:
        layer[slots] = values.view(-1, *[1] * (layer.dim() - 1))


def read(layers: list[Tensor], *, by_page: bool = False) -> tuple[int, ...]:
    """The tag in each slot; ``TORN`` where its layers or elements do not agree.

    ``by_page``: the first two dimensions of a layer are pages and the slots of one.
    """
    first, *others = (_rows(layer.flatten(0, 1) if by_page else layer) for layer in layers)
    tags = first[:, 0]
    torn = None
    for rows in (first[:, 1:], *others):
        if rows.shape[1]:
            differs = (rows != tags[:, None]).any(1)
            torn = differs if torn is None else torn | differs
    if torn is not None and bool(torn.any()):
        tags = torch.where(torn, TORN, tags)
    return tuple(tags.tolist())


def read_one(layers: list[Tensor], slot: int) -> int:
    return read([layer[slot : slot + 1] for layer in layers])[0]


def _rows(layer: Tensor) -> Tensor:
    return layer.reshape(layer.shape[0], -1)
