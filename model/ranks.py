"""What several ranks of one cache do together: the collectives that they call."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Collective:
    """One call, as far as the other ranks of its group must make the same one."""

    kind: str
    """``all_reduce``, ``barrier`` or ``broadcast``."""
    group: str
    reduction: str = ""
    """``MIN``, ``MAX`` or ``SUM`` of an all_reduce; the source rank of a broadcast."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    where: str = field(default="", compare=False)
    """Where in the subject's code it was called, innermost place first."""

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.kind, self.reduction, self.dtype)))
        shape = f" of shape {list(self.shape)}" if self.shape else ""
        return f"{what}{shape} over {self.group} ({self.where or 'place unknown'})"
