"""The three moments of a copy: enqueued, executed, observed (domain.md 4.5, 6.7, 6.8.3, 8.1)."""

from __future__ import annotations

from radixproof.model.blocks import CPU
from radixproof.model.events import emit_stored
from radixproof.model.locking import unlock
from radixproof.model.state import State, Submission, Transfer

MAX_UNFINISHED_LOADS = 3


def unfinished(queue: list[Submission]) -> list[Submission]:
    return [s for s in queue if not s.executed]


def start_loading(state: State) -> int:
    """Merge the load queue into one submission; how many loads it has."""
    merged = len(state.load_queue)
    if merged:
        state.loads.append(Submission(state.load_queue))
        state.load_queue = []
    return merged


def execute_write(state: State, submission: Submission) -> None:
    for transfer in submission.transfers:
        for component, (device, host) in transfer.moves.items():
            state.memory.copy(component, device, f"host_{component}", host)
    submission.executed = True


def execute_load(state: State, submission: Submission) -> None:
    for transfer in submission.transfers:
        for component, (device, host) in transfer.moves.items():
            if device:
                state.memory.copy(f"host_{component}", host, component, device)
    submission.executed = True


def wait_for_loads(state: State) -> None:
    """What a forward pass does before it reads: every load, submitted or queued, runs."""
    start_loading(state)
    for submission in unfinished(state.loads):
        execute_load(state, submission)


def acknowledge(state: State, queue: list[Submission], limit: int | None) -> int:
    """Pop finished submissions from the head, at most ``limit``; how many ids they had (I-34)."""
    acknowledged = 0
    popped = 0
    while queue and queue[0].executed and (limit is None or popped < limit):
        for transfer in queue.pop(0).transfers:
            finish(state, transfer)
            acknowledged += 1
        popped += 1
    return acknowledged


def drain_writes(state: State) -> None:
    """The blocking wait of write-back (6.7): every queued write runs and is acknowledged."""
    for submission in unfinished(state.writes):
        execute_write(state, submission)
    acknowledge(state, state.writes, None)


def finish(state: State, transfer: Transfer) -> None:
    """The data is there: nobody waits for it any more, and its locks end."""
    if transfer.target.node.pending == transfer.id:
        emit_stored(state, CPU, transfer.pages)
    for node in state.tree.upwards(transfer.target) if _is_write(transfer) else ():
        if node.node.pending == transfer.id:
            node.node.pending = None
    for receipt in transfer.receipts:
        unlock(state, receipt)


def _is_write(transfer: Transfer) -> bool:
    """A load may end at a node that is being backed up, and then both have that node's id.

    Under write-back a write holds nothing: it is waited for at once.
    """
    return all(receipt.owner == "write" for receipt in transfer.receipts)
