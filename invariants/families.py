"""Imports every family, which fills the catalogue in reading order."""

from radixproof.invariants import (  # noqa: F401, I001
    structure,
    backup,
    locks,
    tracking,
    slots,
    transfers,
    data,
    buffers,
    idle,
    sessions,
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
    track,
    transfer,
    request,
    waiting,
    scheduler,
    environment,
    events,
    answers,
    refusals,
    session,
    recency,
)
from radixproof.invariants.steps.frames import (  # noqa: F401
    priorities,
    owners,
    queues,
    armed_failures,
    data as _data_steps,
    order,
)
from radixproof.invariants import ranks  # noqa: F401
