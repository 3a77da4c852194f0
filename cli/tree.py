"""A snapshot as a tree of text, and two of them with the difference marked."""

from __future__ import annotations

from radixproof.model.options import HIDES_LOCKS, HIDES_TRACKING
from radixproof.model.snapshot import Node, Placement, Snapshot
from radixproof.model.units import raw_tokens


def tree_lines(snapshot: Snapshot) -> dict[tuple[str, tuple[int, ...]], str]:
    """Prefix -> its line, in depth-first order."""
    lines: dict[tuple[str, tuple[int, ...]], str] = {}
    depth = {-1: -1}
    for i, n in enumerate(snapshot.nodes):
        depth[i] = depth.get(n.parent, 0) + 1
        lines[n.namespace, n.tokens] = "  " * depth[i] + node_text(snapshot, i)
    return lines


def node_text(snapshot: Snapshot, i: int) -> str:
    """``[1 2] FULL device+host, SWA -, lock 1/1, D-leaf``."""
    n = snapshot.nodes[i]
    parts = [_name(n), f"FULL {_where(n.full)}"]
    if n.swa is not None:
        parts.append(f"SWA {_where(n.swa)}")
    if n.mamba is not None:
        parts.append(f"MAMBA {_where(n.mamba)}")
    locks = [str(p.lock) for p in n.placements]
    if HIDES_LOCKS in snapshot.options:
        locks[1:] = ["some" if p.lock else "0" for p in n.placements[1:]]
    host_locks = [str(p.host_lock) for p in n.placements]
    if set(locks) != {"0"}:
        parts.append(f"lock {'/'.join(locks)}")
    if set(host_locks) != {"0"}:
        parts.append(f"host lock {'/'.join(host_locks)}")
    if HIDES_TRACKING not in snapshot.options:
        parts.append(f"hits {n.hit}")
    if n.pending is not None:
        parts.append("backup pending")
    if i in snapshot.device_leaves:
        parts.append("D-leaf")
    if i in snapshot.host_leaves:
        parts.append("H-leaf")
    return "  ".join(parts)


def _name(n: Node) -> str:
    space = f"{n.namespace}:" if n.namespace else ""
    return f"{space}[{' '.join(map(_unit, n.key))}]"


def _unit(unit: int) -> str:
    """A token, or ``first.second`` for a pair."""
    return ".".join(map(str, raw_tokens((unit,))))


def _where(p: Placement) -> str:
    tiers = [t for t, slots in (("device", p.device), ("host", p.host)) if slots is not None]
    return "+".join(tiers) or "-"


def side(snapshot: Snapshot, other: Snapshot | None, mark: str, faults: set[int]) -> list[str]:
    """The lines of one tree: ``mark`` for what the other lacks, ``~`` for what differs there.

    Nodes at fault are pointed at.
    """
    theirs = tree_lines(other) if other is not None else {}
    out = []
    for i, (prefix, line) in enumerate(tree_lines(snapshot).items()):
        sign = " "
        if other is not None and prefix not in theirs:
            sign = mark
        elif other is not None and theirs[prefix].strip() != line.strip():
            sign = "~"
        out.append(f"{sign} {line}{'   <-- here' if i in faults else ''}")
    return (out or ["  (empty)"]) + storage_lines(snapshot)


def storage_lines(snapshot: Snapshot) -> list[str]:
    """What is under way between host and store, and how much is stored."""
    s = snapshot.storage
    if s is None:
        return []
    lines = [
        f"prefetch of {p.request}: {p.completed} of {p.span} tokens from {p.start} on"
        for p in s.prefetches
    ]
    lines += [f"being written: {_name(snapshot.nodes[b.node])}" for b in s.backups if b.node >= 0]
    lines += [f"on their way back: {c} {list(slots)}" for c, slots in s.releasing.items() if slots]
    stored = ", ".join(f"{len(pages)} pages of {c}" for c, pages in s.pages.items())
    return [f"  storage: {line}" for line in (*lines, f"{stored or 'nothing'} stored")]


def before_and_after(
    before: Snapshot | None, after: Snapshot | None, faults: set[int]
) -> list[str]:
    """Both trees, one below the other."""
    lines = []
    if before is not None:
        lines += ["before:", *side(before, after, "-", set())]
    if after is not None:
        lines += ["after:", *side(after, before, "+", faults)]
    else:
        lines += ["after: the subject did not survive the step"]
    return lines
