"""Streaming sessions: what a server adds to the vocabulary (``CacheConfig.sessions``).

A session is a conversation whose KV stays on the device between its turns. A turn names only its
new tokens; what came before is the history of the session: prompt and output of its last turn that
finished. A session has one turn in flight at most. While a turn runs it has the session's slots
and lock; the session holds them from the end of one turn to the admission of the next.

The specification and our cache have no sessions: configurations that have them are releases'.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A client opens a session. It holds nothing before its first turn ran.

    E_PROTO: it is open already.
    """

    session: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The next turn of a session is admitted, as a request of its own name.

    Its tokens are the session's history and ``tokens``. Where the session holds KV the turn goes
    on from it: the tree is not asked, and slots beyond what the turn can use are freed. Otherwise
    it is admitted as by Admit. ``waits``: looked at so, and refused for its budget, as by Prepare.

    While a turn of the session is in flight it is not accepted. The server makes a request of one
    token of it, which waits, is admitted and computed like any other, and ends with its first
    forward pass: Finish. It is no turn, and has no part in the session.

    E_ARG: no tokens. E_PROTO: no such session, it is closing, or ``request`` runs or waits already.
    Outcome: ``accepted`` (0 or 1); if it is, also, with the slots, as Admit, with ``waits`` as
    Prepare.
    """

    session: str
    request: str
    tokens: tuple[int, ...]
    namespace: str = ""
    priority: int = 0
    load_back: bool = True
    waits: bool = False


@dataclass(frozen=True, slots=True)
class CloseSession:
    """A client closes a session, and all that it holds is given back.

    With a turn in flight the session is closing from now on; it is closed when this is done again
    after the end of that turn. That is the server's own reaper, which closes all such sessions.

    E_PROTO: no such session. Outcome: ``closed`` (0 or 1).
    """

    session: str
