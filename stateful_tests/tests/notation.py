"""The worked examples' own notation: one line per node, indentation is depth.

    [1,2]  F d=(1,2) h=(0,1) L=2 | S d=- h=- L=1 | hit 0 | P

``d`` and ``h`` are the device and host slots, ``L`` the device lock count; flags: D (D-leaf),
H (H-leaf), P (backup pending).
"""

from __future__ import annotations

from textwrap import dedent

from radixproof.model import operations as op
from radixproof.model.config import FULL, CacheConfig
from radixproof.model.outcome import Outcome, Status
from radixproof.model.snapshot import Placement, Slots, Snapshot
from radixproof.model.subject import OpenSubject


class Example:
    """One example on one subject. Every verb expects to succeed."""

    def __init__(self, open_subject: OpenSubject, config: CacheConfig) -> None:
        self.subject = open_subject(config)
        self.config = config

    def do(self, operation: op.Operation) -> Outcome:
        outcome = self.subject.apply(operation)
        assert outcome.status is Status.OK, outcome
        return outcome

    def insert(self, *tokens: int, **fields: object) -> int:
        """``prefix_len``."""
        return self.do(op.Insert(tokens, **fields)).values["prefix_len"]  # type: ignore[arg-type]

    def match(self, *tokens: int, namespace: str = "") -> Outcome:
        return self.do(op.Match(tokens, namespace))

    def evict(self, full: int = 0, swa: int = 0, mamba: int = 0) -> tuple[int, ...]:
        """What was freed: FULL and SWA tokens, and states where there are any."""
        values = self.do(op.Evict(full, swa, mamba)).values
        states = (values["freed_mamba"],) if self.config.has_mamba else ()
        return (values["freed_full"], values["freed_swa"], *states)

    def ack(self) -> None:
        """Execute all copies and run ``writing_check`` and ``loading_check``."""
        for stream in op.STREAMS:
            while self.subject.apply(op.Execute(stream)).status is Status.OK:
                pass
            self.do(op.Observe(stream))

    @property
    def state(self) -> Snapshot:
        return self.subject.snapshot()

    def shows(self, text: str) -> None:
        """The tree is exactly this."""
        assert picture(self.state) == dedent(text).strip("\n").rstrip()

    def sizes(self, component: str) -> tuple[int, int]:
        """Evictable and protected tokens."""
        return self.state.evictable[component], self.state.protected[component]

    def free(self, pool: str) -> int:
        return self.state.pools[pool].free_slots

    def host_list(self, component: str = "swa") -> list[tuple[int, ...]]:
        """Keys in a host list, most recent first."""
        state = self.state
        return [state.nodes[i].key for i in state.host_lru[component]]

    def device_list(self, component: str) -> list[tuple[int, ...]]:
        """Keys in a device list, most recent first."""
        state = self.state
        return [state.nodes[i].key for i in state.lru[component]]


def picture(state: Snapshot) -> str:
    """The tree in the notation."""
    depth = {-1: -1}
    lines = []
    for i, n in enumerate(state.nodes):
        depth[i] = depth[n.parent] + 1
        space = f"{n.namespace}:" if n.namespace else ""
        flags = "D" * (i in state.device_leaves) + "H" * (i in state.host_leaves)
        flags += "P" * (n.pending is not None)
        cells = [f"{space}[{_join(n.key)}]  F {_placement(n.full)}"]
        cells += [f"S {_placement(n.swa)}"] if n.swa is not None else []
        cells += [f"M {_placement(n.mamba)}"] if n.mamba is not None else []
        cells += [f"hit {n.hit}"] + ([flags] if flags else [])
        lines.append("  " * depth[i] + " | ".join(cells))
    return "\n".join(lines)


def _placement(p: Placement) -> str:
    host = f"(hL={p.host_lock})" if p.host_lock else ""
    return f"d={_slots(p.device)} h={_slots(p.host)} L={p.lock}{host}"


def _slots(slots: Slots | None) -> str:
    return "-" if slots is None else f"({_join(slots)})"


def _join(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def tiers(window: int, page_size: int = 1, **sizes: object) -> CacheConfig:
    fields = {
        "full_slots": 16 * page_size,
        "swa_slots": 16 * page_size,
        "host_full_slots": 32 * page_size,
        "host_swa_slots": 32 * page_size,
        **sizes,
    }
    return CacheConfig(page_size=page_size, sliding_window=window, **fields)  # type: ignore[arg-type]


def full_only(**fields: object) -> CacheConfig:
    return CacheConfig(components=(FULL,), swa_slots=0, host_swa_slots=0, **fields)  # type: ignore[arg-type]
