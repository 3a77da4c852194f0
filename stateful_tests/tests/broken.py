"""Releases with a defect of ours, to show that a check can fail on one."""

from __future__ import annotations

from pathlib import Path


def broken_copy(tree: Path, folder: Path, method: str) -> Path:
    """The tree with one method added at the end of its cache class, all else linked."""
    inside = Path("sglang/srt/mem_cache/unified_radix_cache.py")
    (folder / inside).parent.mkdir(parents=True)
    for level in inside.parents[:-1]:
        for entry in (tree / level).iterdir():
            if not (folder / level / entry.name).exists() and entry.name != inside.name:
                (folder / level / entry.name).symlink_to(entry)
    source = (tree / inside).read_text(encoding="utf-8")
    planted = f"\n\nclass _Broken(UnifiedRadixCache):\n{method}\n\nUnifiedRadixCache = _Broken\n"
    (folder / inside).write_text(source + planted, encoding="utf-8")
    return folder
