"""The catalogue as text: one line, one entry, or the whole page docs/invariants.md."""

from __future__ import annotations

from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE, RANKS, Invariant

NOT_EXPRESSED = {
    "I-42": "Determinism is a property of runs, not of a state or a step; a test runs the same"
    " traces twice and compares.",
}
"""Invariants of domain.md 7 that this slice has no predicate for, and why."""


def path_of(invariant: Invariant) -> str:
    """The file that states it."""
    return f"invariants/{invariant.family.replace('.', '/')}.py"


def one_line(invariant: Invariant) -> str:
    return f"{invariant.slug:<48} {invariant.number:<18} {invariant.sentence}"


def describe(invariant: Invariant) -> str:
    """Everything a reader needs to know of one invariant."""
    rows = [
        ("number", invariant.number),
        ("SGLang's name", invariant.upstream_name or "none"),
        ("kind", _kind(invariant)),
        ("formula", invariant.formula),
        ("holds", invariant.holds_under),
        ("without it", invariant.without_it),
        ("taught by", invariant.taught_by),
        ("stated in", path_of(invariant)),
    ]
    body = "\n".join(f"  {name:<14} {text}" for name, text in rows)
    return f"{invariant.slug}\n  {invariant.sentence}\n\n{body}"


def catalogue_markdown() -> str:
    """The page docs/invariants.md."""
    invariants = list(CATALOGUE.values())
    lines = [
        "# The invariants",
        "",
        "Generated from `invariants/` by `make docs`; a test checks that this page is current.",
        f"{len(invariants)} invariants, by the file that states them. `I-n` is the number in the",
        "specification; `S-operation-n` says what a step of that operation may and must change.",
        "",
    ]
    for family in dict.fromkeys(i.family for i in invariants):
        members = [i for i in invariants if i.family == family]
        lines += [f"## {path_of(members[0])}", ""]
        for invariant in members:
            lines += _entry(invariant)
    lines += ["## Not expressed in this slice", ""]
    lines += [f"- **{number}**: {reason}" for number, reason in NOT_EXPRESSED.items()]
    return "\n".join(lines) + "\n"


def _entry(invariant: Invariant) -> list[str]:
    upstream = f" (SGLang: {invariant.upstream_name})" if invariant.upstream_name else ""
    return [
        f"### {invariant.slug}",
        "",
        f"**{invariant.number}**{upstream}. {invariant.sentence}",
        "",
        f"- formula: `{invariant.formula}`",
        f"- of: {_kind(invariant)}; holds {invariant.holds_under}",
        f"- without it: {invariant.without_it}",
        f"- taught by: {invariant.taught_by}",
        "",
    ]


def _kind(invariant: Invariant) -> str:
    if invariant.kind == RANKS:
        return "every step of several ranks"
    if not invariant.operations:
        return "every state"
    names = [cls.__name__ for cls in invariant.operations]
    if len(names) > 6:
        return f"steps of {len(names)} operations"
    return "steps of " + ", ".join(names)
