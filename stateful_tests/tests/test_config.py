"""Configurations that no cache can have are refused in one line that names what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from radixproof.model.config import FULL, MAMBA, SWA, CacheConfig
from radixproof.model.errors import ConfigError

STATES = {"components": (FULL, MAMBA), "swa_slots": 0, "host_swa_slots": 0}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"components": (SWA,)}, "components"),
        ({"page_size": 0}, "page_size"),
        ({"full_slots": True}, "full_slots"),
        ({"page_size": 3}, "multiple of page_size 3"),
        ({"write_policy": "write_sideways"}, "write_policy"),
        ({"eviction_policy": "random"}, "eviction_policy"),
        ({"bigram": 1}, "bigram"),
        ({"swa_slots": 0}, "swa_slots"),
        ({"host_swa_slots": 0}, "host_swa_slots"),
        ({**STATES, "mamba_slots": 0}, "mamba_slots"),
        ({**STATES, "bigram": True}, "bigram keys go without mamba"),
        ({**STATES, "page_size": 2}, "page_size must be 1"),
    ],
)
def test_it_is_refused_in_one_line(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        CacheConfig(**fields)
    assert "\n" not in str(refused.value)


def test_the_plain_ones_are_taken() -> None:
    assert CacheConfig(**STATES).has_mamba  # type: ignore[arg-type]
    assert CacheConfig().has_swa
