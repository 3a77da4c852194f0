"""A refuted obligation as a small state, what happens in it, and the state after.

The smallest number of nodes is searched first, then of holders; then as few facts as possible. What
the solver returns is not believed: the other back end evaluates the assumptions, the guard and the
violated sentence on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from radixproof.invariants.proofs import smt
from radixproof.invariants.proofs.finite import Individual, Structure, Tuples
from radixproof.invariants.proofs.grounding import ground, open_sorts, symbols
from radixproof.invariants.proofs.logic import Relation, Sort, Term, substitute, value
from radixproof.invariants.proofs.obligations import Obligation
from radixproof.invariants.proofs.solvers import small_model
from radixproof.invariants.proofs.system import Theory


@dataclass(frozen=True, slots=True)
class Counterexample:
    """``given`` are the transition's parameters; ``where`` the individuals of the violation."""

    transition: str
    slug: str
    before: Structure
    after: Structure
    given: Mapping[Term, Individual]
    where: list[tuple[str, Individual]]

    @property
    def nodes(self) -> int:
        """How many individuals of the first sort it needs: in the forest, nodes."""
        return len(next(iter(self.before.population.values())))


class NotGenuine(AssertionError):
    """The two back ends disagree about a counterexample: a defect of one of them."""


def smallest(theory: Theory, refuted: Obligation, seconds: float = 10.0) -> Counterexample | None:
    """The one with the fewest individuals, of the first sort above all."""
    most = theory.signature.most
    for sizes in product(*(range(1, n + 1) for n in most.values())):
        population = {
            sort: theory.signature.individuals(sort, size)
            for sort, size in zip(most, sizes, strict=True)
        }
        for values in _values(refuted):
            found = _among(theory, refuted, values, population, seconds)
            if found is not None:
                return found
    return None


def _values(refuted: Obligation) -> Iterator[dict[Term, Term]]:
    """Every choice of component and tier for the parameters that are such."""
    listed = [p for p in refuted.parameters if p.sort.values]
    for chosen in product(*([value(v, p.sort) for v in p.sort.values] for p in listed)):
        yield dict(zip(listed, chosen, strict=True))


def _among(
    theory: Theory,
    refuted: Obligation,
    values: dict[Term, Term],
    names: Mapping[Sort, tuple[str, ...]],
    seconds: float,
) -> Counterexample | None:
    """A counterexample over exactly these individuals."""
    signature = theory.signature
    labels: dict[str, tuple[Relation | Term, tuple[Individual, ...]]] = {}
    constants = {c.name for c in signature.constants}
    lines = [smt.declarations(signature, refuted.constants), smt.exactly(names, constants)]
    preferred: list[tuple[str, bool]] = []
    first = [r for r in reversed(signature.relations) if r not in signature.preferred]
    for relation in (*first, *signature.preferred):
        for name, listed in symbols(relation):
            for args in product(*(names[s] for s in open_sorts(relation))):
                label = f"fact{len(labels)}"
                labels[label] = (relation, (*(v.name for v in listed), *args))
                lines.append(smt.label(label, f"({name} {' '.join(args)})" if args else name))
                preferred.append((label, relation in signature.preferred))
    for p in refuted.constants:
        for individual in names[p.sort]:
            label = f"fact{len(labels)}"
            labels[label] = (p, (individual,))
            lines.append(smt.label(label, f"(= {p.name} {individual})"))
    lines += [refuted.assumed.text]
    lines.append(smt.assertion(ground(substitute(refuted.before, values))))
    true = small_model("".join(lines), list(labels), preferred, seconds)
    if true is None:
        return None
    facts: dict[Relation, set[tuple[Individual, ...]]] = {}
    given: dict[Term, Individual] = {p: v.name for p, v in values.items()}
    for label in true:
        what, about = labels[label]
        if isinstance(what, Relation):
            facts.setdefault(what, set()).add(about)
        else:
            given[what] = about[0]
    frozen: dict[Relation, Tuples] = {r: frozenset(facts.get(r, ())) for r in signature.relations}
    before = Structure(names, frozen)
    given = {p: given[p] for p in refuted.parameters}
    return _checked(theory, refuted, before, given)


def _checked(
    theory: Theory, refuted: Obligation, before: Structure, given: dict[Term, Individual]
) -> Counterexample:
    """Evaluated by the other back end. Raises ``NotGenuine``."""
    wrong = [f for f in refuted.assumed.formulas if not before.holds(f)]
    if wrong or not before.holds(refuted.before, given):
        raise NotGenuine(f"{refuted.transition} / {refuted.slug}: {wrong[:1]}")
    after, sentence, at = before, refuted.sentence, before
    known: Mapping[Term, Individual] = {}
    if refuted.kind == "initiation":
        at = after = before.after(theory.initial)
    elif refuted.kind in ("consecution", "step"):
        t = theory.transition(refuted.transition)
        after = before.after(t.updates, given)
        if before.failing(t, given):
            raise NotGenuine(f"{refuted.transition} is not enabled")
        if refuted.kind == "step":
            sentence, known = t.step(refuted.sentence), given
        else:
            at = after
    if at.holds(sentence, known):
        raise NotGenuine(f"{refuted.slug} is not violated by {refuted.transition}")
    where = at.witnesses(sentence, known)
    return Counterexample(refuted.transition, refuted.slug, before, after, given, where)
