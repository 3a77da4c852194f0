"""The two solvers, and nothing else that knows of them: text in, verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any

UNSAT, SAT, UNKNOWN = "unsat", "sat", "unknown"
Z3, CVC5 = "z3", "cvc5"


class SolverMissing(Exception):
    """A solver that is not installed; one line that says what to install."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``seconds`` of processor time; ``statistics`` are the solver's own counters."""

    status: str
    seconds: float
    statistics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


def versions(solvers: Sequence[str]) -> dict[str, str]:
    """The versions of these solvers. Raises ``SolverMissing``."""
    asked = {Z3: lambda: _z3().get_version_string(), CVC5: lambda: _cvc5().__version__}
    return {solver: str(asked[solver]()) for solver in solvers}


def ask(solver: str, text: str, seconds: float, logic: str = "UF") -> Answer:
    """Whether the assertions have a model. The text is SMT-LIB without ``check-sat``."""
    return _ask_z3(text, seconds) if solver == Z3 else _ask_cvc5(text, seconds, logic)


def small_model(
    text: str,
    labels: Sequence[str],
    preferred: Sequence[tuple[str, bool]],
    seconds: float,
) -> set[str] | None:
    """The Boolean constants that are true in a model of the text; ``None`` if it has none.

    Each preferred value is taken, one after the other, as long as a model is left. Uses z3.
    """
    z3 = _z3()
    solver = z3.Solver()
    solver.set("timeout", max(1, int(seconds * 1000)))
    solver.from_string(text)
    if str(solver.check()) != SAT:
        return None
    model = solver.model()
    for label, wanted in preferred:
        fact = z3.Bool(label)
        if z3.is_true(model.eval(fact, model_completion=True)) == wanted:
            solver.add(fact == wanted)
            continue
        solver.push()
        solver.add(fact == wanted)
        if str(solver.check()) == SAT:
            model = solver.model()
        else:
            solver.pop()
    return {n for n in labels if z3.is_true(model.eval(z3.Bool(n), model_completion=True))}


def numbers(text: str, seconds: float) -> dict[str, str]:
    """The constants of a model of the text, by name; empty if it has none. Uses z3."""
    solver = _z3().Solver()
    solver.set("timeout", max(1, int(seconds * 1000)))
    solver.from_string(text)
    if str(solver.check()) != SAT:
        return {}
    model = solver.model()
    return {str(d.name()): str(model[d]) for d in sorted(model.decls(), key=lambda d: str(d))}


def _z3() -> Any:
    try:
        import z3  # type: ignore[import-untyped]
    except ImportError:
        raise SolverMissing("z3 is missing: pip install 'radixproof[proof]'") from None
    return z3


def _cvc5() -> Any:
    try:
        import cvc5  # type: ignore[import-untyped]
    except ImportError:
        raise SolverMissing("cvc5 is missing: pip install 'radixproof[proof]'") from None
    return cvc5


_COUNTED = {
    "quant instantiations": "instances",
    "conflicts": "conflicts",
    "decisions": "decisions",
}


def _ask_z3(text: str, seconds: float) -> Answer:
    z3 = _z3()
    solver = z3.Solver()
    solver.set("timeout", max(1, int(seconds * 1000)))
    begin = process_time()
    solver.from_string(text)
    verdict = str(solver.check())
    spent = process_time() - begin
    raw = solver.statistics()
    found = {raw[i][0]: float(raw[i][1]) for i in range(len(raw))}
    counted = {name: found[key] for key, name in _COUNTED.items() if key in found}
    reason = str(solver.reason_unknown()) if verdict == UNKNOWN else ""
    return Answer(verdict, spent, counted, reason)


def _ask_cvc5(text: str, seconds: float, logic: str) -> Answer:
    cvc5 = _cvc5()
    manager = cvc5.TermManager()
    solver = cvc5.Solver(manager)
    solver.setOption("tlimit-per", str(max(1, int(seconds * 1000))))
    if logic == "UF":
        solver.setOption("finite-model-find", "true")
    parser = cvc5.InputParser(solver)
    begin = process_time()
    source = f"(set-logic {logic})\n{text}(check-sat)\n"
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, source, "obligation")
    symbols = parser.getSymbolManager()
    verdict = ""
    while not (command := parser.nextCommand()).isNull():
        verdict = str(command.invoke(solver, symbols)).strip()
    return Answer(verdict if verdict in (SAT, UNSAT) else UNKNOWN, process_time() - begin)
