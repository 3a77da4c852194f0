"""A counterexample on SGLang as a unit test that needs SGLang, torch and unittest, and nothing of
ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from textwrap import indent, wrap

from radixproof import __version__
from radixproof.impl.sglang.configuration import NO_OVERLAP, PAGE_FIRST, STRIP_THINKING, host_ratio
from radixproof.invariants import families as _families  # noqa: F401  (fills the catalogue)
from radixproof.invariants.catalogue import CATALOGUE
from radixproof.model import operations as op
from radixproof.model.config import NO_BUFFER, CacheConfig
from radixproof.model.trace import Trace, dumps
from radixproof.stateful_tests.export import assemble
from radixproof.stateful_tests.export.calls import Calls, NotExportable
from radixproof.stateful_tests.verdict import CRASH, OWN_CHECK, Counterexample

TEST_CLASS = "TestUnifiedRadixCacheCounterexample"
WIDTH = 80
"""Columns of a statement in the test, beside its indentation."""
_OF_SERVER = (STRIP_THINKING, NO_OVERLAP)
"""Flags (``--set NAME=1``) that are arguments of the server and no environment variables."""


_TRACE_APART = '''\
def trace() -> None:
{body}


class {name}(unittest.TestCase):
    def test_trace(self) -> None:
        """It ends in time, and well."""
        self.assertEqual(end_of_trace(), 0, "exit status; None: not in time")


if __name__ == "__main__":
    if sys.argv[1:] == ["--trace"]:
        trace()
    else:
        unittest.main()'''


def asserted() -> frozenset[str]:
    """The invariants for which there is an assertion."""
    return frozenset(CATALOGUE) & {_slug(check.name) for check in assemble.load().checks}


def unittest_file(
    found: Counterexample, subject: str, environment: Mapping[str, str] | None = None
) -> str:
    """The text of the file. Raises ``NotExportable``."""
    require_possible(found.trace.config)
    given = dict(environment or {})
    server = {name: True for name in _OF_SERVER if given.pop(name, "0") not in ("", "0")}
    parts, calls = assemble.load(), Calls(states=found.trace.config.has_mamba)
    setup = list(_setup(found.trace, server))
    steps = [calls.line(number, o) for number, o in enumerate(found.trace.operations, start=1)]
    if found.outcome is None:
        body = "\n".join([*setup, *steps])
        wanted = parts.needed(body, "unittest", "sys", "end_of_trace")
        test = _TRACE_APART.format(body=indent(body, "    "), name=TEST_CLASS)
    else:
        known = {_slug(check.name) for check in parts.checks} | {CRASH, OWN_CHECK}
        slugs = [s for s in found.slugs if s in known]
        if not slugs:
            raise NotExportable(f"no assertion is known for {', '.join(found.slugs)}")
        body = "\n".join([*setup, *steps[:-1], *_judged(steps[-1], slugs)])
        wanted = parts.needed(body, "unittest")
        checks = [c.text for c in parts.checks if c.chosen(wanted)]
        test = _test_class(
            [*checks, f"    def test_trace(self) -> None:\n{indent(body, '        ')}"]
        )
    blocks = [
        f'"""{_told(found, subject)}"""\n',
        "\n".join(f"# {line}" for line in dumps(found.trace).splitlines()) + "\n",
        _flags(given) + parts.source(wanted) + "\n\n",
        test,
        "",
    ]
    return "\n".join(blocks)


def require_possible(config: CacheConfig) -> None:
    """Raises ``NotExportable`` of what the parts have no counterpart of."""
    kinds = {
        "several ranks": config.ranks > 1,
        "a storage tier": config.storage is not None,
        "a scheduler's budget (max_new_tokens)": config.max_new_tokens > 0,
        "a decode server": config.decode_server,
        f"mamba_strategy {config.mamba_strategy}": config.mamba_strategy != NO_BUFFER,
    }
    beyond = [k for k, there in kinds.items() if there]
    if beyond:
        raise NotExportable(f"a configuration with {', '.join(beyond)} has no counterpart yet")


def _test_class(methods: list[str]) -> str:
    told = '\n\nif __name__ == "__main__":\n    unittest.main()'
    return f"class {TEST_CLASS}(unittest.TestCase):\n" + "\n\n".join(methods) + "\n" + told


def _slug(method: str) -> str:
    return method.removeprefix(".").replace("_", "-")


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


def _setup(trace: Trace, server: Mapping[str, bool]) -> Iterator[str]:
    """The cache and its pools. ``server``: arguments that are on."""
    config = trace.config
    drafts = any(isinstance(o, op.Decode) and o.ahead for o in trace.operations)
    plain = "CacheWithSessions" if config.sessions else "Cache"
    kind = "CacheWithStates" if config.has_mamba else plain
    values = {**_cache(config, drafts), **server}
    yield _call(f"cache = {kind}", [*_pools(config), *_keywords(values)])
    if config.has_host:
        layout = PAGE_FIRST if config.has_mamba else "layer_first"
        layers = "page_first" if config.has_mamba else "layer_first"
        yield _call("cache.start_hicache", [layers, f'"{layout}"', *_keywords(_host(config))])


def _judged(last: str, slugs: list[str]) -> Iterator[str]:
    """The last operation, and what is asserted of the states around it."""
    checks = [s for s in slugs if s not in (CRASH, OWN_CHECK)]
    if checks:
        yield "before = State(cache)"
    if CRASH in slugs:
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
        yield f"self.{slug.replace('-', '_')}(cache, before, after)"
    if OWN_CHECK in slugs:
        yield "cache.tree.sanity_check()"


def _call(function: str, arguments: list[str]) -> str:
    """On one line where that is short."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{function}(", *(f"    {a}," for a in arguments), ")"])


def _pools(config: CacheConfig) -> list[str]:
    """What makes the rows of requests, the pools, and slots for more tokens."""
    paged = config.page_size > 1
    if config.has_mamba:
        return [
            "rows_with_states",
            "hybrid_swa_pools" if config.has_swa else "hybrid_pools",
            "take_tokens",
        ]
    pools = "swa_pools" if config.has_swa else "paged_full_pools" if paged else "full_pools"
    return ["request_rows", pools, "take_pages" if paged else "take_tokens"]


def _cache(config: CacheConfig, drafts: bool) -> dict[str, object]:
    """Of the cache: what differs from the defaults."""
    values: dict[str, object] = {"components": tuple(c.upper() for c in config.components)}
    if config.page_size > 1:
        values["page_size"] = config.page_size
    values["full_slots"] = config.full_slots
    if config.has_swa:
        values |= {"swa_slots": config.swa_slots, "window": config.sliding_window}
    if config.has_mamba:
        values |= {"mamba_slots": config.mamba_slots, "chunk_size": config.mamba_chunk_size}
    if config.eviction_policy != "lru":
        values["eviction_policy"] = config.eviction_policy
    flags = {"kv_events": config.kv_events, "bigram": config.bigram, "disable": config.disable}
    values |= {name: True for name, there in flags.items() if there}
    if config.bigram or drafts:
        values["speculative_algorithm"] = "EAGLE" if config.bigram else "STANDALONE"
    return values


def _host(config: CacheConfig) -> dict[str, object]:
    return {
        "load_back_threshold": config.load_back_threshold,
        "hicache_ratio": host_ratio(config),
        "hicache_write_policy": config.write_policy,
    }


def _keywords(values: Mapping[str, object]) -> list[str]:
    quoted = {k: _quoted(v) for k, v in values.items()}
    return [f"{k}={v}" for k, v in quoted.items()]


def _quoted(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_quoted, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value) if isinstance(value, str) else repr(value)
