"""What a server with streaming sessions could do, beside the rules of use.py."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.snapshot import Session, Snapshot


def why_illegal(state: Snapshot, operation: op.Operation) -> str | None:
    """The reason why no such server would do this here; ``None``: it is legal."""
    match operation:
        case op.OpenSession() | op.Turn() | op.CloseSession() if not state.config.sessions:
            return "this server has no sessions"
        case op.OpenSession() if named(state, operation.session) is not None:
            return "the server does not open a session that is open"
        case op.CloseSession() if named(state, operation.session) is None:
            return "the server knows no such session"
        case op.CloseSession() if _away(state, operation.session):
            return "here, what was made of a turn that was not accepted ends before its session"
        case op.Turn():
            return _why_no_turn(state, operation)
        case op.ReleaseWindow() if any(s.turn == operation.request for s in state.sessions):
            return "the early release of a session's window is not driven"
        case op.Decode() | op.SlideWindow() | op.Retract() if _rejected(state, operation.request):
            return "a turn that is not accepted ends with its first forward pass"
        case op.Abort() if _rejected(state, operation.request) and _runs(state, operation.request):
            return "a turn that is not accepted ends with its first forward pass"
        case op.Retract() if _has_no_output(state, operation.request):
            return "a turn is retracted from a decode batch, which computes its first output token"
        case _:
            return None


def _why_no_turn(state: Snapshot, turn: op.Turn) -> str | None:
    session = named(state, turn.session)
    if session is None or session.closing:
        return "without an open session it is a request that the server answers with an error"
    if session.history and turn.namespace != session.namespace:
        return "the history was computed in another namespace"
    return None


def named(state: Snapshot, name: str) -> Session | None:
    return next((s for s in state.sessions if s.name == name), None)


def _has_no_output(state: Snapshot, request: str) -> bool:
    """Of a turn: no token of its output is computed and known."""
    turns = {s.turn for s in state.sessions}
    return any(
        r.name == request and r.name in turns and r.committed <= r.prompt_len
        for r in state.requests
    )


def _away(state: Snapshot, name: str) -> bool:
    """A request made of one of its turns, which was not accepted, waits or runs."""
    session = named(state, name)
    return session is not None and bool(session.rejected)


def _rejected(state: Snapshot, request: str) -> bool:
    return any(request in s.rejected for s in state.sessions)


def _runs(state: Snapshot, request: str) -> bool:
    """It was computed."""
    return any(r.name == request and r.committed > 0 for r in state.requests)
