"""A counterexample for people: what broke, the trace, both trees, how to run it again."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path

from radixproof.cli.tree import before_and_after, side
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.trace import operation_to_json
from radixproof.stateful_tests.corpus import save
from radixproof.stateful_tests.lockstep import Coverage, describe
from radixproof.stateful_tests.verdict import (
    AGREEMENT,
    CRASH,
    DIFFERENCE,
    LINKED,
    OWN_CHECK,
    RELATION,
    Counterexample,
)

FOLDER = Path(".radixproof")
"""Where counterexamples are kept, below the working directory."""

_ORACLES = {
    AGREEMENT: "Outcome and state are those of the specification.",
    CRASH: "The subject neither raises nor finds itself broken, nor hangs.",
    RELATION: "Every step is a sequence of the transitions that are proved.",
    OWN_CHECK: "The subject's own check of its state passes.",
    DIFFERENCE: "Two subjects answer alike and show the same state, as far as both show it.",
}


def keep(found: Counterexample) -> Path | None:
    """Save the trace of a counterexample; ``None``, and a line, where nothing can be written."""
    named = [slug for slug in found.slugs if slug not in _ORACLES] or list(found.slugs)
    try:
        return save(found.trace, FOLDER, named[0])
    except OSError as problem:
        print(f"radixproof: the trace was not saved: {problem}", file=sys.stderr)
        return None


def links_text(coverage: Coverage) -> list[str]:
    """How many steps the proved relation explains, and what keeps it from explaining others."""
    links = coverage.links
    if not links:
        return []
    lines = [f"linked to the proved relation: {links[LINKED]} of {links.total()} steps"]
    for options, times in sorted(links.items()):
        if options != LINKED:
            lines.append(f"    not linked, beyond the relation ({options}): {times}")
    return lines


def counterexample_text(
    found: Counterexample, path: Path | None, subject: str, flags: str = ""
) -> str:
    """The whole report; ``flags``: what a replay on the subject needs beside its name."""
    lines = ["COUNTEREXAMPLE", ""]
    for slug in sorted(found.slugs, key=lambda s: s in _ORACLES):
        invariant = CATALOGUE.get(slug)
        number = f" ({invariant.number})" if invariant else ""
        lines.append(f"{slug}{number}: {invariant.sentence if invariant else _ORACLES[slug]}")
        lines += [f"    {line}" for line in complaints(found, slug)]
    lines += ["", f"configuration: {config_text(found.trace.config)}", ""]
    for place, operation in enumerate(found.trace.operations, start=1):
        last = place == len(found.trace.operations)
        outcome = f"   -> {describe(found.outcome)}" if last and found.outcome else ""
        lines.append(f"{place:4}. {operation_text(operation)}{outcome}")
    faults = {i for f in found.findings if f.violation is not None for i in f.violation.fault.nodes}
    if DIFFERENCE not in found.slugs:
        lines += ["", *before_and_after(found.before, found.after, faults)]
    if AGREEMENT in found.slugs and found.wanted is not None:
        lines += ["the specification has:", *side(found.wanted, found.after, "+", set())]
    if path is not None:
        again = f"radixproof replay {shlex.quote(str(path))} --subject {shlex.quote(subject)}"
        illegal = "" if subject.startswith("sglang") else " --allow-illegal"
        past = "".join(f" --past {slug}" for slug in sorted(found.past))
        lines += ["", f"saved: {path}", f"again: {again}{flags}{illegal}{past}"]
    return "\n".join(lines)


def complaints(found: Counterexample, slug: str) -> list[str]:
    """What one oracle says, a line per place; of states that differ, the names of the parts."""
    findings = [f for f in found.findings if f.slug == slug]
    if slug != AGREEMENT:
        return [f"{f.who}: {shorten(f.message)}" for f in findings if "\n" not in f.message] + [
            line
            for f in findings
            if "\n" in f.message
            for line in (f"{f.who}:", *("  " + told for told in f.message.splitlines()))
        ]
    outcomes = [f"{f.who}: {f.message}" for f in findings if f.message.startswith("outcome ")]
    parts = [f.message.split(":")[0] for f in findings if not f.message.startswith("outcome ")]
    return outcomes + ([f"{findings[0].who}: differs in {', '.join(parts)}"] if parts else [])


def operation_text(operation: Operation) -> str:
    """``insert [1 2 3] swa_evicted=2``."""
    raw = operation_to_json(operation)
    name = raw.pop("op")
    tokens = raw.pop("tokens", None)
    words = [name] if tokens is None else [name, f"[{' '.join(map(str, tokens))}]"]
    return " ".join(words + [f"{k}={v}" for k, v in raw.items()])


def config_text(config: CacheConfig) -> str:
    """The fields that differ from the defaults, and the components."""
    plain = CacheConfig().to_json()
    changed = {k: v for k, v in config.to_json().items() if v != plain.get(k)}
    changed.pop("components", None)
    words = ["+".join(config.components), f"page {config.page_size}"]
    storage = changed.pop("storage", None)
    if storage is not None:
        words += [f"storage with {', '.join(f'{k} {v}' for k, v in storage.items())}"]
    changed.pop("page_size", None)
    return ", ".join(words + [f"{k} {v}" for k, v in changed.items()])


def outcomes_table(outcomes: Counter[tuple[str, str]]) -> list[str]:
    """A line per operation: how often it was done, refused and illegal."""
    lines = [f"{'operation':<18}{'ok':>8}{'refused':>9}{'illegal':>9}"]
    for name in sorted({o for o, _ in outcomes}):
        ok, refused = outcomes[name, "ok"], outcomes[name, "refused"]
        illegal = sum(n for (o, _), n in outcomes.items() if o == name) - ok - refused
        lines.append(f"{name:<18}{ok:>8}{refused:>9}{illegal:>9}")
    return lines


def shorten(text: str, longest: int = 160) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
