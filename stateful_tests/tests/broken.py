"""Releases with a defect of ours, to show that a check can fail on one."""

from __future__ import annotations

from pathlib import Path

CACHE = Path("sglang/srt/mem_cache/unified_radix_cache.py")


def broken_copy(
    tree: Path, folder: Path, method: str, *, inside: Path = CACHE, kind: str = "UnifiedRadixCache"
) -> Path:
    """The tree with one method added at the end of a class of one module, all else linked."""
    (folder / inside).parent.mkdir(parents=True)
    for level in inside.parents[:-1]:
        for entry in (tree / level).iterdir():
            if not (folder / level / entry.name).exists() and entry.name != inside.name:
                (folder / level / entry.name).symlink_to(entry)
    source = (tree / inside).read_text(encoding="utf-8")
    planted = f"\n\nclass _Broken({kind}):\n{method}\n\n{kind} = _Broken\n"
    (folder / inside).write_text(source + planted, encoding="utf-8")
    return folder
