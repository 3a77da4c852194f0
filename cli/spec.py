"""``radixproof spec``: read the invariants."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

from radixproof.cli.errors import HELD, UsageError
from radixproof.invariants.catalogue import CATALOGUE, Invariant
from radixproof.invariants.render import NOT_EXPRESSED, catalogue_markdown, describe, one_line


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("spec", help="read an invariant, or list them")
    parser.add_argument("slug", nargs="?", metavar="SLUG", help="slug, number or SGLang's name")
    parser.add_argument("--markdown", action="store_true", help="the page docs/invariants.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.markdown:
        print(catalogue_markdown(), end="")
    elif args.slug is None:
        print("\n".join(map(one_line, CATALOGUE.values())))
    else:
        print("\n\n".join(map(describe, look_up(args.slug))))
    return HELD


def look_up(name: str) -> list[Invariant]:
    """By slug, by number, or by SGLang's name. Raises ``UsageError`` with what is near."""
    found = [
        i
        for i in CATALOGUE.values()
        if name in (i.slug, i.number, i.upstream_name) or name == i.slug.replace("-", "_")
    ]
    if found:
        return found
    if name in NOT_EXPRESSED:
        raise UsageError(f"{name} is not expressed in this slice: {NOT_EXPRESSED[name]}")
    near = get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else "; `radixproof spec` lists them"
    raise UsageError(f"no invariant {name!r}{hint}")
