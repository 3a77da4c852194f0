"""Imports every family, which fills the catalogue in reading order."""

from radixproof.invariants import (  # noqa: F401, I001
    structure,
    backup,
    locks,
    tracking,
    slots,
    transfers,
    data,
    idle,
)
from radixproof.invariants.steps import (  # noqa: F401
    errors,
    identity,
    loss,
    backup as _backup_steps,
    write_back,
    locked_data,
    match,
    insert,
    lock,
    evict,
    evict_host,
    load_back,
    mamba,
    transfer,
    request,
    waiting,
    scheduler,
    environment,
    events,
    answers,
    refusals,
    frames,
    recency,
)
from radixproof.invariants import ranks  # noqa: F401
