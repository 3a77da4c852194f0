"""Sessions: one turn in flight, and the KV that they keep."""

from radixproof.stateful_tests.export.parts.cache import Cache
from radixproof.stateful_tests.export.parts.checks.compare import Comparisons
from radixproof.stateful_tests.export.parts.state import State, contents, prefixes


class SessionChecks(Comparisons):
    def a_session_has_one_turn_in_flight(self, cache: Cache, before: State, after: State) -> None:
        turn = cache.acting
        other = before.in_flight[turn.session.name]
        self.assertEqual(turn.accepted, other is None, "accepted, and whether none is in flight")
        if not turn.accepted:
            self.assertEqual(after.in_flight, before.in_flight, "turns in flight")
            self.same_slots(before, after, "device", "host")

    def a_turn_goes_on_from_the_history(self, cache: Cache, before: State, after: State) -> None:
        turn = cache.acting
        if turn.accepted:
            history = turn.session.history
            self.assertEqual(turn.tokens, history + turn.said, "the tokens of the turn")

    def sessions_keep_the_kv_of_their_tokens(
        self, cache: Cache, before: State, after: State
    ) -> None:
        cache.run_copies()
        read = contents(cache, "FULL", "device")
        for session in cache.sessions.values():
            if session.keeps_kv():
                row = session.row.tolist()[: session.get("kv_committed_len")]
                self.assertLessEqual(len(row), len(session.kept), "computed tokens of a session")
                of = prefixes(session.kept[: len(row)])
                wanted = [cache.tag(session.namespace, p) for p in of]
                self.assertEqual([read[x] for x in row], wanted, f"KV of session {session.name}")

    def sessions_keep_their_window(self, cache: Cache, before: State, after: State) -> None:
        cache.run_copies()
        read = contents(cache, "SWA", "device")
        table = cache.allocator.full_to_swa_index_mapping
        for session in cache.sessions.values():
            if session.keeps_kv():
                done = session.get("kv_committed_len")
                begin = max(0, done - (cache.window - 1))
                mapped = table[session.row[begin:done]].tolist()
                self.assertNotIn(0, mapped, f"session {session.name} lost SWA in its window")
                of = prefixes(session.kept[:done])[begin:]
                wanted = [cache.tag(session.namespace, p) for p in of]
                self.assertEqual([read[y] for y in mapped], wanted, f"window of {session.name}")
