"""Why an exploration cannot go on; the message is one line that says what to do."""

from __future__ import annotations


class ExploreError(Exception):
    """Neither a verdict nor a defect of the explorer."""


class StoreError(ExploreError):
    """A folder that holds no exploration, or another one."""


class NotCopyable(ExploreError):
    """A subject that cannot be made into bytes and back."""


class CopyDiffers(ExploreError):
    """A counterexample on copies of a subject that its replay does not show."""


class WorkerDied(ExploreError):
    """A process that expanded states was ended from outside."""
