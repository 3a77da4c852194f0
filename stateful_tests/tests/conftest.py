"""What all tests share."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, settings

from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject

torch.set_num_threads(1)

settings.register_profile(
    "crosshair",
    backend="crosshair",
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""`pytest --hypothesis-profile=crosshair`: arguments are symbolic."""


@pytest.fixture(params=["model", "torch"])
def open_subject(request: pytest.FixtureRequest) -> OpenSubject:
    """The specification and the torch cache in turn."""
    return ReferenceModel if request.param == "model" else open_torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """CUDA tests are collected everywhere and say why they do not run."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
