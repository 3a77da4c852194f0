"""The same formulas evaluated on a finite structure: a counterexample, or a state of a cache.

A formula becomes a Python expression once and is then evaluated many times. A quantifier runs over
the tuples of a relation wherever the formula names one that binds its variables.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from radixproof.invariants.proofs.logic import (
    And,
    Atom,
    Equal,
    Formula,
    Not,
    Or,
    Quantified,
    Relation,
    Sort,
    Term,
    Truth,
    Update,
    both,
    either,
    parameter,
    substitute,
)
from radixproof.invariants.proofs.system import Transition

Individual = Hashable
Tuples = frozenset[tuple[Individual, ...]]
ROOT = "root"
"""The individual that the constant ``root`` names; every constant names the one called like it."""


@dataclass(frozen=True)
class Structure:
    """Who is there, and which relations hold of them. Components and tiers are their names."""

    population: Mapping[Sort, tuple[Individual, ...]]
    facts: Mapping[Relation, Tuples] = field(default_factory=dict)

    def of(self, relation: Relation) -> Tuples:
        return self.facts.get(relation, frozenset())

    def individuals(self, sort: Sort) -> tuple[Individual, ...]:
        return sort.values or self.population[sort]

    def holds(self, formula: Formula, given: Mapping[Term, Individual] | None = None) -> bool:
        """Whether a formula is true here; ``given`` says what its parameters are."""
        given = given or {}
        check = _predicate(formula, tuple(given))
        return bool(check(self, *given.values()))

    def witnesses(
        self, formula: Formula, given: Mapping[Term, Individual] | None = None
    ) -> list[tuple[str, Individual]]:
        """Of a false universal sentence: the individuals that make it false."""
        return _witness(self, formula, dict(given or {}), [])

    def failing(self, transition: Transition, given: Mapping[Term, Individual]) -> list[str]:
        """Names of the guard's conjuncts that are false for these parameters."""
        return [name for name, g in transition.guard.items() if not self.holds(g, given)]

    def after(
        self, updates: Iterable[Update], given: Mapping[Term, Individual] | None = None
    ) -> Structure:
        """The structure that a transition with these updates leads to."""
        given = given or {}
        changed = {u.relation: _tuples(u, tuple(given))(self, *given.values()) for u in updates}
        return Structure(self.population, {**self.facts, **changed})


def initial(
    population: Mapping[Sort, tuple[Individual, ...]],
    updates: Iterable[Update],
    rigid: Mapping[Relation, Tuples],
) -> Structure:
    """The state in which nothing has happened, over these individuals."""
    return Structure(population, rigid).after(updates)


# From formulas to functions


@cache
def _predicate(formula: Formula, given: tuple[Term, ...]) -> Callable[..., bool]:
    writer = _Writer(given)
    expression = writer.expression(_normal(formula))
    return writer.function(expression)


@cache
def _tuples(update: Update, given: tuple[Term, ...]) -> Callable[..., Tuples]:
    """The new relation; each alternative of the formula is enumerated for itself."""
    writer = _Writer(given)
    sets = []
    normal = _normal(update.formula)
    for part in normal.parts if isinstance(normal, Or) else (normal,):
        if isinstance(part, Atom) and (part.relation, part.args) == (
            update.relation,
            update.variables,
        ):
            sets.append(writer.relation(update.relation))
            continue
        conjuncts = part.parts if isinstance(part, And) else (part,)
        head = writer.tuple_of(update.variables)
        sets.append(f"{{{head} {writer.loops(update.variables, conjuncts)}}}")
    return writer.function(f"frozenset().union({', '.join(sets)})")


class _Writer:
    """Writes one function: its expression, and the relations and sorts that it reads."""

    def __init__(self, given: tuple[Term, ...]) -> None:
        self.given = given
        self.bound = {t.name for t in given}
        self.prelude: dict[str, str] = {}
        self.constants: dict[str, Any] = {}

    def function(self, expression: str) -> Callable[..., Any]:
        lines = [f"def check({', '.join(['structure', *(_name(t) for t in self.given)])}):"]
        lines += [f"    {name} = {source}" for name, source in self.prelude.items()]
        lines.append(f"    return {expression}")
        scope: dict[str, Any] = dict(self.constants)
        exec("\n".join(lines), scope)
        made: Callable[..., Any] = scope["check"]
        return made

    def relation(self, relation: Relation) -> str:
        name = f"r_{relation.name}".replace("-", "_")
        self.constants[name.upper()] = relation
        self.prelude[name] = f"structure.of({name.upper()})"
        return name

    def sort(self, sort: Sort) -> str:
        name = f"all_{sort.name}"
        self.constants[f"S_{sort.name}"] = sort
        self.prelude[name] = f"structure.individuals(S_{sort.name})"
        return name

    def expression(self, formula: Formula) -> str:
        match formula:
            case Truth(value):
                return str(value)
            case Atom(relation, args):
                return f"({self.tuple_of(args)} in {self.relation(relation)})"
            case Equal(left, right):
                return f"({_name(left)} == {_name(right)})"
            case Not(body):
                return f"(not {self.expression(body)})"
            case And(parts):
                return "(" + " and ".join(map(self.expression, parts)) + ")"
            case Or(parts):
                return "(" + " or ".join(map(self.expression, parts)) + ")"
            case Quantified(True, variables, body):
                return f"(not {self.some(variables, _normal(~body))})"
            case Quantified(False, variables, body):
                return self.some(variables, body)
        raise TypeError(f"{formula} cannot be evaluated")

    def some(self, variables: tuple[Term, ...], body: Formula) -> str:
        alternatives = body.parts if isinstance(body, Or) else (body,)
        found = []
        for part in alternatives:
            conjuncts = part.parts if isinstance(part, And) else (part,)
            found.append(f"any(True {self.loops(variables, conjuncts)})")
        return "(" + " or ".join(found) + ")"

    def loops(self, variables: tuple[Term, ...], conjuncts: Sequence[Formula]) -> str:
        """``for ... if ...`` over all values of the variables that satisfy the conjuncts."""
        outer, self.bound = self.bound, set(self.bound) - {v.name for v in variables}
        clauses, left = [], list(conjuncts)
        wanted = list(variables)
        while left or wanted:
            ready = [c for c in left if self._is_bound(c, variables)]
            if ready:
                clauses += [f"if {self.expression(c)}" for c in ready]
                left = [c for c in left if c not in ready]
                continue
            if not wanted:
                raise TypeError("a conjunct has a free variable")
            clause, now = self._bind(wanted, left)
            clauses.append(clause)
            self.bound.update(v.name for v in now)
            wanted = [v for v in wanted if v not in now]
        self.bound = outer
        if not clauses or clauses[0].startswith("if"):
            clauses.insert(0, "for _ in (0,)")
        return " ".join(clauses)

    def _bind(self, wanted: list[Term], left: list[Formula]) -> tuple[str, list[Term]]:
        """A clause that gives values to some of the wanted variables."""
        for c in left:
            if isinstance(c, Equal):
                for one, other in ((c.left, c.right), (c.right, c.left)):
                    if one in wanted and (other.kind != "variable" or other.name in self.bound):
                        return f"for {_name(one)} in ({_name(other)},)", [one]
        atoms = [c for c in left if isinstance(c, Atom) and set(c.args) & set(wanted)]
        if atoms:
            atom = max(atoms, key=lambda a: len(set(a.args) & set(wanted)))
            names, checks, now = [], [], []
            for i, arg in enumerate(atom.args):
                if arg in wanted and arg not in now:
                    names.append(_name(arg))
                    now.append(arg)
                else:
                    names.append(f"at{i}")
                    checks.append(f"at{i} == {_name(arg)}")
            test = f" if {' and '.join(checks)}" if checks else ""
            return f"for {', '.join(names)}, in {self.relation(atom.relation)}{test}", now
        first = wanted[0]
        return f"for {_name(first)} in {self.sort(first.sort)}", [first]

    def _is_bound(self, formula: Formula, local: tuple[Term, ...]) -> bool:
        free = _free_names(formula)
        return all(v.name not in free or v.name in self.bound for v in local)

    def tuple_of(self, terms: Iterable[Term]) -> str:
        return "(" + "".join(f"{_name(t)}, " for t in terms) + ")"


def _name(term: Term) -> str:
    if term.kind == "value":
        return repr(term.name)
    if term.kind == "constant":
        return repr(term.name)
    return f"{term.kind[0]}_{term.name}"


def _free_names(formula: Formula) -> set[str]:
    match formula:
        case Atom(_, args):
            return {a.name for a in args if a.kind == "variable"}
        case Equal(left, right):
            return {a.name for a in (left, right) if a.kind == "variable"}
        case Not(body):
            return _free_names(body)
        case And(parts) | Or(parts):
            return set().union(*map(_free_names, parts))
        case Quantified(_, bound, body):
            return _free_names(body) - {v.name for v in bound}
    return set()


def _normal(formula: Formula, negated: bool = False) -> Formula:
    """Negation pushed down to atoms, and conjunctions of alternatives left as they are."""
    match formula:
        case Truth(value):
            return Truth(value != negated)
        case Not(body):
            return _normal(body, not negated)
        case And(parts):
            return (either if negated else both)(*(_normal(p, negated) for p in parts))
        case Or(parts):
            return (both if negated else either)(*(_normal(p, negated) for p in parts))
        case Quantified(universal, bound, body):
            return Quantified(universal != negated, bound, _normal(body, negated))
    return Not(formula) if negated else formula


def _witness(
    structure: Structure,
    formula: Formula,
    given: dict[Term, Individual],
    found: list[tuple[str, Individual]],
) -> list[tuple[str, Individual]]:
    """Descends a false formula, giving values to its universal variables."""
    match formula:
        case And(parts):
            for part in parts:
                if not structure.holds(part, given):
                    return _witness(structure, part, given, found)
        case Or(parts):
            for part in reversed(parts):
                if isinstance(part, Quantified) and part.universal:
                    return _witness(structure, part, given, found)
        case Quantified(True, bound, body):
            opened = substitute(body, {v: parameter(v.name, v.sort) for v in bound})
            for values in product(*(structure.individuals(v.sort) for v in bound)):
                named = dict(zip((parameter(v.name, v.sort) for v in bound), values, strict=True))
                if not structure.holds(opened, {**given, **named}):
                    told = [*found, *((p.name, i) for p, i in named.items())]
                    return _witness(structure, opened, {**given, **named}, told)
    return found
