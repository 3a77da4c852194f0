"""Drawing what clients do with sessions, where a configuration has them."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.snapshot import Session
from radixproof.stateful_tests.choose import Chooser
from radixproof.stateful_tests.enabled import Situation, fresh_tokens, unused

SESSIONS = ("s1", "s2")
OF_A_SESSION = 25
"""Percent of operations that open or close a session or begin a turn."""


def draw(s: Situation, choose: Chooser) -> op.Operation | None:
    """``None``: nothing of the kind is possible."""
    sessions = s.state.sessions
    closed = [name for name in SESSIONS if name not in {x.name for x in sessions}]
    if closed and (not sessions or choose.chance(15)):
        return op.OpenSession(closed[0])
    if not sessions:
        return None
    session = choose.pick(sessions)
    if choose.chance(60 if session.closing and not session.turn else 8):
        return op.CloseSession(session.name)
    return _turn(s, session, choose)


def _turn(s: Situation, session: Session, choose: Chooser) -> op.Turn | op.CloseSession | None:
    """A few new tokens; a conversation that has become long is closed."""
    free, size = unused(s.state), s.state.config.page_size
    if session.closing or not free or (session.turn and not choose.chance(25)):
        return None
    if not session.turn and len(session.history) > 2 * s.longest * size:
        return op.CloseSession(session.name)
    namespace = session.namespace if session.history else choose.pick(s.namespaces)
    count = choose.pick((1, size, size + 1, 2 * size, 3 * size))
    tokens = fresh_tokens(choose, count, s.alphabet)
    waits, load = choose.chance(20), not choose.chance(15)
    return op.Turn(session.name, free[0], tokens, namespace, choose.pick((0, 0, 1)), load, waits)
