"""A counterexample on SGLang as a unit test that needs SGLang, torch and unittest, and nothing of
ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from textwrap import indent, wrap

from radixproof import __version__
from radixproof.impl.sglang.configuration import host_ratio
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model.config import CacheConfig
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.export import assemble
from radixproof.stateful_tests.export.calls import Calls, NotExportable
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK, Counterexample

CHECKS = "Checks"
TEST_CLASS = "TestUnifiedRadixCacheCounterexample"
WIDTH = 80
"""Columns of a statement in the test, beside its indentation."""


def unittest_file(
    found: Counterexample, subject: str, environment: Mapping[str, str] | None = None
) -> str:
    """The text of the file. Raises ``NotExportable``."""
    _require_possible(found.trace.config)
    parts = assemble.load()
    known = {check.name.removeprefix(".") for check in parts.members(CHECKS)}
    asserted = [s for s in found.slugs if _method(s) in known or s in (CRASH, OWN_CHECK)]
    if not asserted:
        raise NotExportable(f"no assertion is known for {', '.join(found.slugs)}")
    if found.outcome is None:
        raise NotExportable("the trace ends the process: no assertion could follow it")
    body = "\n".join(_body(found.trace, asserted))
    wanted = parts.needed(body, CHECKS, "unittest")
    checks = [c.text for c in parts.members(CHECKS) if c.chosen(wanted)]
    test = f"    def test_trace(self) -> None:\n{indent(body, '        ')}"
    blocks = [
        f'"""{_told(found, subject)}"""\n',
        "\n".join(f"# {line}" for line in dumps(found.trace).splitlines()) + "\n",
        _flags(environment or {}) + parts.source(wanted, CHECKS) + "\n\n",
        f"class {TEST_CLASS}(unittest.TestCase):",
        "\n\n".join([*checks, test]),
        '\n\nif __name__ == "__main__":\n    unittest.main()',
        "",
    ]
    return "\n".join(blocks)


def _require_possible(config: CacheConfig) -> None:
    """The pools and keys of parts/cache.py are those of full and full,swa."""
    kinds = {
        "bigram": config.bigram,
        "disable": config.disable,
        "mamba": config.has_mamba,
        "ranks": config.ranks > 1,
        "sessions": config.sessions,
    }
    beyond = [k for k, there in kinds.items() if there]
    if beyond:
        raise NotExportable(f"a configuration with {', '.join(beyond)} has no fixture yet")


def _method(slug: str) -> str:
    return slug.replace("-", "_")


def _told(found: Counterexample, subject: str) -> str:
    """What is violated, in words."""
    lines = [f"What does not hold of the unified radix cache of {subject}.", ""]
    for slug in found.slugs:
        lines += wrap(f"{slug}{_sentence(slug)}", 96)
        told = {f.message.splitlines()[0] for f in found.findings if f.slug == slug}
        lines += [f"    {line}" for t in sorted(told) for line in wrap(_escaped(t), 92)]
    lines += ["", f"Exported by radixproof {__version__} from the trace below. With HiCache it"]
    lines += ["needs a GPU, as SGLang's own tests of HiCache do.", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _sentence(slug: str) -> str:
    invariant = CATALOGUE.get(slug)
    if invariant is not None:
        return f" ({invariant.number}): {invariant.sentence}"
    return {CRASH: ": The last call raises.", OWN_CHECK: ": sanity_check complains."}.get(slug, "")


def _flags(environment: Mapping[str, str]) -> str:
    """Opt-in flags are set before SGLang is imported."""
    if not environment:
        return ""
    lines = [f"os.environ[{k!r}] = {v!r}" for k, v in sorted(environment.items())]
    return "import os\n\n" + "\n".join(lines) + "\n\n"


def _body(trace: Trace, asserted: list[str]) -> Iterator[str]:
    calls = Calls()
    yield _call("cache = Cache", _arguments(trace.config))
    if trace.config.has_host:
        yield _call("cache.start_hicache", _host_arguments(trace.config))
    *first, last = [calls.line(number, o) for number, o in enumerate(trace.operations, start=1)]
    yield from first
    checks = [s for s in asserted if s not in (CRASH, OWN_CHECK)]
    if checks:
        yield "before = State(cache)"
    if CRASH in asserted:
        yield "try:"
        yield f"    {last}"
        yield "except Exception as problem:"
        yield '    self.fail(f"{type(problem).__name__}: {problem}")'
    else:
        yield last
    if checks:
        yield "after = State(cache)"
    for slug in checks:
        yield from (f"# {line}" for line in wrap(f"{slug}{_sentence(slug)}", 88))
        yield f"self.{_method(slug)}(cache, before, after)"
    if OWN_CHECK in asserted:
        yield "cache.tree.sanity_check()"


def _call(function: str, arguments: list[str]) -> str:
    """On one line where that is short."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{function}(", *(f"    {a}," for a in arguments), ")"])


def _arguments(config: CacheConfig) -> list[str]:
    """Of the cache: its pools, and what differs from the defaults."""
    paged = config.page_size > 1
    pools = "swa_pools" if config.has_swa else "paged_full_pools" if paged else "full_pools"
    values: dict[str, object] = {"full_slots": config.full_slots}
    if paged:
        values["page_size"] = config.page_size
    if config.has_swa:
        values |= {"swa_slots": config.swa_slots, "window": config.sliding_window}
    if config.eviction_policy != "lru":
        values["eviction_policy"] = config.eviction_policy
    if config.kv_events:
        values["kv_events"] = True
    return [pools, "take_pages" if paged else "take_tokens", *_keywords(values)]


def _host_arguments(config: CacheConfig) -> list[str]:
    return _keywords(
        {
            "ratio": host_ratio(config),
            "write_policy": config.write_policy,
            "load_back_threshold": config.load_back_threshold,
        }
    )


def _keywords(values: Mapping[str, object]) -> list[str]:
    quoted = {k: json.dumps(v) if isinstance(v, str) else repr(v) for k, v in values.items()}
    return [f"{k}={v}" for k, v in quoted.items()]
