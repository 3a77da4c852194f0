"""A counterexample for people: of the forest two small trees, of the slots two lists of facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from radixproof.invariants.proofs.counterexample import Counterexample
from radixproof.invariants.proofs.finite import ROOT, Individual, Structure
from radixproof.invariants.proofs.vocabulary import (
    COMPONENT,
    HOLDER,
    NODE,
    TIER,
    anchor,
    copies,
    edge,
    excused,
    fills,
    flying,
    good,
    has,
    live,
    lock,
    marked,
    ran,
    reached,
    short,
    stale,
    target,
    through,
    tiered,
    up,
    uses,
)


def picture(found: Counterexample) -> str:
    """The state before and after, with changed lines marked and the violation pointed at."""
    return _trees(found) if NODE in found.before.population else _facts_changed(found)


def _facts_changed(found: Counterexample) -> str:
    """What holds, relation by relation: before and after, or only one of them."""
    given = ", ".join(f"{p.name} = {i}" for p, i in found.given.items())
    rows = [f"{found.transition}({given})"]
    if found.where:
        rows.append(f"  violated at: {', '.join(f'{v} = {i}' for v, i in found.where)}")
    for relation in found.before.facts:
        before, after = found.before.of(relation), found.after.of(relation)
        for mark, facts in ((" ", before & after), ("-", before - after), ("+", after - before)):
            told = [f"{relation.name}({', '.join(map(str, f))})" for f in sorted(facts, key=str)]
            rows += [f"  {mark} {'  '.join(told)}"] if told else []
    return "\n".join(rows)


def _trees(found: Counterexample) -> str:
    names = _names(found)
    at = {names[i] for _, i in found.where if i in names}
    given = ", ".join(f"{p.name} = {names.get(i, str(i))}" for p, i in found.given.items())
    where = ", ".join(f"{v} = {names.get(i, str(i))}" for v, i in found.where)
    before, after = _lines(found.before, names), _lines(found.after, names)
    rows = [f"{found.transition}({given})", f"  configuration: {_configuration(found.before)}"]
    if where:
        rows.append(f"  violated at: {where}")
    for title, lines, other in (("before", before, after), ("after", after, before)):
        rows.append(f"  {title}:")
        for name, (depth, text) in lines.items():
            mark = " " if other.get(name) == (depth, text) else "+" if name not in other else "~"
            if title == "before" and mark == "+":
                mark = "-"
            here = "   <-- here" if title == "after" and name in at else ""
            rows.append(f"  {mark} {'  ' * depth}{name}{'  ' + text if text else ''}{here}")
    return "\n".join(rows)


def _names(found: Counterexample) -> dict[Individual, str]:
    """Individuals by the names of the parameters they stand for; others by letters."""
    names: dict[Individual, str] = {ROOT: "root"}
    for p, individual in found.given.items():
        if not p.sort.values:
            names.setdefault(individual, p.name)
    used = set(names.values())
    letters = iter(c for c in "abcdefgijklo" if c not in used)
    for individual in found.before.individuals(NODE):
        if individual not in names:
            names[individual] = next(letters)
    holders = iter(c for c in ("h1", "h2", "h3", "h4") if c not in used)
    for individual in found.before.individuals(HOLDER):
        if individual not in names:
            names[individual] = next(holders)
    return names


def _configuration(s: Structure) -> str:
    components = "+".join(c for c in COMPONENT.values if (c,) in s.of(uses))
    policy = "write-through" if s.of(through) else "write-back"
    return f"{components}, {policy if s.of(tiered) else 'no host tier'}"


def _lines(s: Structure, names: Mapping[Individual, str]) -> dict[str, tuple[int, str]]:
    """Node -> (depth, what there is to say), parents before children."""
    found: dict[str, tuple[int, str]] = {}
    nodes = {n for (n,) in s.of(live)}
    for n in _depth_first(s, nodes):
        depth = sum(1 for a in nodes if a != n and (n, a) in s.of(up))
        found[names[n]] = (depth, "" if n == ROOT else "  ".join(_facts(s, n, names)))
    for n in s.individuals(NODE):
        held = "  ".join(_holders(s, n, names))
        if n not in nodes and held:
            found[names[n]] = (0, f"(not in the tree)  {held}")
    return found


def _depth_first(s: Structure, nodes: set[Individual]) -> list[Individual]:
    def path(n: Individual) -> list[str]:
        above = [a for a in nodes if (n, a) in s.of(up)]
        above.sort(key=lambda a: sum((a, b) in s.of(up) for b in nodes))
        return [str(a) for a in above]

    return sorted(nodes, key=path)


def _facts(s: Structure, n: Individual, names: Mapping[Individual, str]) -> Iterator[str]:
    for c in COMPONENT.values:
        tiers = [t for t in TIER.values if (c, t, n) in s.of(has)]
        if tiers:
            yield f"{c.upper()} {'+'.join(tiers)}"
        for t in tiers:
            coming = any(
                (c, h, n) in s.of(copies if t == "host" else fills) and (h,) not in s.of(ran)
                for h in s.individuals(HOLDER)
            )
            if (c, t, n) not in s.of(good) and not coming:
                yield f"wrong {c.upper()} bytes on {t}"
    if (n,) in s.of(reached):
        yield "threshold reached" + (", refused" if (n,) in s.of(excused) else "")
    if (n,) in s.of(short):
        yield "no host room"
    yield from _holders(s, n, names)


def _holders(s: Structure, n: Individual, names: Mapping[Individual, str]) -> Iterator[str]:
    for h in s.individuals(HOLDER):
        who = names[h]
        for t in TIER.values:
            counts = [c.upper() for c in COMPONENT.values if (c, t, h, n) in s.of(lock)]
            roles = [
                *(["anchor"] if (t, h, n) in s.of(anchor) else []),
                *(
                    f"{c.upper()} edge"
                    for c in COMPONENT.values
                    if n != ROOT and (c, t, h, n) in s.of(edge)
                ),
            ]
            if counts or roles:
                on_host = "host-" if t == "host" else ""
                says = f"{on_host}locked by {who} ({'+'.join(counts) or 'nothing'})"
                yield says + (f" [{', '.join(roles)}]" if roles else "")
            lost = [c.upper() for c in COMPONENT.values if (c, t, h, n) in s.of(stale)]
            if lost:
                yield f"{who} lost {'+'.join(lost)} on {t}"
        copied = [c.upper() for c in COMPONENT.values if (c, h, n) in s.of(copies)]
        filled = [c.upper() for c in COMPONENT.values if (c, h, n) in s.of(fills)]
        state = "executed" if (h,) in s.of(ran) else "pending"
        if copied:
            yield f"backup {who} of {'+'.join(copied)} {state}"
        if filled:
            yield f"load {who} of {'+'.join(filled)} {state}"
        if (h, n) in s.of(target) and (h,) in s.of(flying):
            yield f"target of {who}"
        if (h, n) in s.of(marked):
            yield f"marked {who}"
