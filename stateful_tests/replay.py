"""Running a trace, exactly as written, on any subject."""

from __future__ import annotations

from radixproof.model.errors import ErrorKind
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.model.trace import Trace, operation_to_json
from radixproof.stateful_tests.lockstep import Coverage, Lockstep
from radixproof.stateful_tests.verdict import Counterexample


class IllegalTrace(ValueError):
    """A trace that the specification does not allow; one line with the operation's number."""


def require_legal(trace: Trace) -> None:
    """Raises ``IllegalTrace`` at the first operation that is illegal use."""
    model = ReferenceModel(trace.config)
    for number, operation in enumerate(trace.operations, start=1):
        outcome = model.apply(operation)
        if isinstance(outcome.error, ErrorKind):
            name = operation_to_json(operation)["op"]
            raise IllegalTrace(
                f"operation {number} ({name}) is illegal here: {outcome.error}, {outcome.reason}"
            )


def replay(
    trace: Trace,
    open_subject: OpenSubject,
    *,
    allow_illegal: bool = True,
    relation: bool = False,
    coverage: Coverage | None = None,
) -> Counterexample | None:
    """The first counterexample along a trace, ``None`` if everything holds.

    With ``allow_illegal`` an illegal operation must be refused with the right error; without it,
    it raises ``IllegalTrace`` before anything runs. With ``relation`` every step is explained by
    the transitions that are proved, too.
    """
    if not allow_illegal:
        require_legal(trace)
    run = Lockstep(trace.config, open_subject, relation=relation)
    try:
        for operation in trace.operations:
            found = run.step(operation)
            if found is not None:
                return found
    finally:
        covered = run.close()
        if coverage is not None:
            coverage.add(covered)
    return None
