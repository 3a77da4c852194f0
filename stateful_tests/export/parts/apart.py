"""For a trace that ends its process, or does not end."""

import subprocess
import sys

SECONDS = 60
"""A trace takes a few, most of them for imports."""


def end_of_trace() -> int | None:
    """The exit status of a process of its own that runs the trace; None: it did not end.

    Raises ``RuntimeError`` where the trace raised, which its process has told.
    """
    command = [sys.executable, __file__, "--trace"]
    try:
        status = subprocess.run(command, timeout=SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return None
    if status == 1:
        raise RuntimeError("the trace raised an exception")
    return status
