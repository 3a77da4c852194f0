"""A counterexample for people: what broke, the trace, both trees, how to run it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from radixproof.cli.tree import before_and_after
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model.config import CacheConfig
from radixproof.model.operations import Operation
from radixproof.model.trace import operation_to_json
from radixproof.stateful_tests.corpus import save
from radixproof.stateful_tests.lockstep import describe
from radixproof.stateful_tests.verdict import AGREEMENT, CRASH, Counterexample

FOLDER = Path(".radixproof")
"""Where counterexamples are kept, below the working directory."""

_ORACLES = {
    AGREEMENT: "Outcome and state are those of the specification.",
    CRASH: "The subject neither raises nor finds itself broken.",
}


def keep(found: Counterexample) -> Path:
    """Save the trace of a counterexample."""
    named = [slug for slug in found.slugs if slug not in _ORACLES] or list(found.slugs)
    return save(found.trace, FOLDER, named[0])


def counterexample_text(found: Counterexample, path: Path | None, subject: str) -> str:
    """The whole report."""
    lines = ["COUNTEREXAMPLE", ""]
    for slug in sorted(found.slugs, key=lambda s: s in _ORACLES):
        invariant = CATALOGUE.get(slug)
        number = f" ({invariant.number})" if invariant else ""
        lines.append(f"{slug}{number}: {invariant.sentence if invariant else _ORACLES[slug]}")
        for finding in [f for f in found.findings if f.slug == slug]:
            lines.append(f"    {finding.who}: {shorten(finding.message)}")
    lines += ["", f"configuration: {config_text(found.trace.config)}", ""]
    for place, operation in enumerate(found.trace.operations, start=1):
        last = place == len(found.trace.operations)
        outcome = f"   -> {describe(found.outcome)}" if last and found.outcome else ""
        lines.append(f"{place:4}. {operation_text(operation)}{outcome}")
    faults = {i for f in found.findings if f.violation is not None for i in f.violation.fault.nodes}
    lines += ["", *before_and_after(found.before, found.after, faults)]
    if path is not None:
        again = f"radixproof replay {shlex.quote(str(path))} --subject {shlex.quote(subject)}"
        lines += ["", f"saved: {path}", f"again: {again} --allow-illegal"]
    return "\n".join(lines)


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
    changed = {k: v for k, v in config.to_json().items() if v != plain[k] and k != "components"}
    words = ["+".join(config.components), f"page {config.page_size}"]
    changed.pop("page_size", None)
    return ", ".join(words + [f"{k} {v}" for k, v in changed.items()])


def shorten(text: str, longest: int = 160) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
