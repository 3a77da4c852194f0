"""Copies of a release: with marks where its code could be changed, or with one such change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from radixproof.stateful_tests.mutation.sites import Site, sites

MODULES = (
    "sglang/srt/mem_cache/unified_radix_cache.py",
    "sglang/srt/mem_cache/unified_cache/unified_tree_core.py",
    "sglang/srt/mem_cache/unified_cache/components",
    "sglang/srt/mem_cache/unified_cache_components",
)
"""The cache itself, under its names in different releases; of a folder every module."""
REACHED = "reached"
"""File in a marked copy: a line for every site that ran, ``module<TAB>begin<TAB>end``."""
_MARK = """

def _radixproof_reached(module, begin, end, _seen=set()):
    if (begin, end) not in _seen:
        _seen.add((begin, end))
        with open({path!r}, "a") as file:
            print(module, begin, end, sep="\\t", file=file)
"""


def modules_of(tree: Path) -> list[str]:
    """The modules of a release that are changed, as paths inside it."""
    there = [tree / name for name in MODULES]
    files = [f for p in there for f in (sorted(p.glob("*.py")) if p.is_dir() else [p])]
    return [str(f.relative_to(tree)) for f in files if f.is_file()]


def linked_copy(tree: Path, folder: Path, texts: Mapping[str, str | None]) -> Path:
    """The release with other texts for some of its files, or (``None``) without them; all else is
    linked."""
    made = {Path(name) for name in texts}
    parents = {parent for name in made for parent in name.parents}
    for parent in sorted(parents):
        (folder / parent).mkdir(parents=True, exist_ok=True)
        for entry in (tree / parent).iterdir():
            inside = parent / entry.name
            if inside not in made and inside not in parents:
                (folder / inside).symlink_to(entry)
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def marked(tree: Path, folder: Path) -> Path:
    """A copy that behaves as the release and notes which sites it ran."""
    texts: dict[str, str | None] = {}
    for name in modules_of(tree):
        source = (tree / name).read_text(encoding="utf-8")
        note = _MARK.format(path=str(folder / REACHED))
        texts[name] = _with_marks(name, source, sites(source)) + note
    return linked_copy(tree, folder, texts)


def reached(folder: Path) -> set[tuple[str, int, int]]:
    """What a marked copy has run: module, begin and end of a site."""
    file = folder / REACHED
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    parts = [line.split("\t") for line in lines]
    return {(name, int(begin), int(end)) for name, begin, end in parts}


def mutant(tree: Path, folder: Path, name: str, site: Site) -> Path:
    """A copy with one change."""
    source = (tree / name).read_text(encoding="utf-8")
    return linked_copy(tree, folder, {name: site.changed(source)})


def _with_marks(name: str, source: str, places: Iterable[Site]) -> str:
    """Marks before statements and around expressions; nested ones nest."""
    inserts: list[tuple[int, int, str]] = []
    for begin, end, is_statement in dict.fromkeys((s.begin, s.end, s.is_statement) for s in places):
        call = f"_radixproof_reached({name!r}, {begin}, {end})"
        if is_statement:
            inserts.append((begin, -end, f"{call}; "))
        else:  # of expressions that begin together the longest opens first, and closes last
            inserts += [(begin, -end, f"({call}, "), (end, -begin, ")[1]")]
    text = source
    for at, _, added in sorted(inserts, reverse=True):
        text = text[:at] + added + text[at:]
    return text
