"""What several ranks of one cache do together: the collectives and messages between them."""

from __future__ import annotations

from dataclasses import dataclass, field

SEND = "send"
RECV = "recv"


@dataclass(frozen=True, slots=True)
class Collective:
    """One call, as far as the other ranks of its group must make the same one.

    A message, ``send`` or ``recv``, has one ``peer``, who makes the opposite call.
    """

    kind: str
    """``all_reduce``, ``barrier``, ``broadcast``, ``send`` or ``recv``."""
    group: str
    reduction: str = ""
    """``MIN``, ``MAX`` or ``SUM``; the source rank of a broadcast; the tag of a message."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    peer: int | None = None
    where: str = field(default="", compare=False)
    """Where in the subject's code it was called, innermost place first."""

    def __str__(self) -> str:
        kind = self.kind
        if self.peer is not None:
            kind += f" {'to' if kind == SEND else 'from'} rank {self.peer},"
        what = " ".join(filter(None, (kind, self.reduction, self.dtype)))
        shape = f" of shape {list(self.shape)}" if self.shape else ""
        return f"{what}{shape} over {self.group} ({self.where or 'place unknown'})"

    def answers(self, sent: Collective) -> bool:
        """Whether this call receives what another rank sent to this one."""
        same = (self.group, self.reduction, self.shape, self.dtype)
        return same == (sent.group, sent.reduction, sent.shape, sent.dtype)
