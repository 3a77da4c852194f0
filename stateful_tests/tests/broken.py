"""Releases with a defect of ours, to show that a check can fail on one."""

from __future__ import annotations

from pathlib import Path

CACHE = Path("sglang/srt/mem_cache/unified_radix_cache.py")
ADAPTER = Path("sglang/srt/mem_cache/rust_tree_core/adapter.py")


def broken_copy(
    tree: Path, folder: Path, method: str, *, inside: Path = CACHE, kind: str = "UnifiedRadixCache"
) -> Path:
    """The tree with one method added at the end of a class of one module, all else linked."""
    copy_without(tree, folder, inside)
    source = (tree / inside).read_text(encoding="utf-8")
    planted = f"\n\nclass _Broken{kind}({kind}):\n{method}\n\n{kind} = _Broken{kind}\n"
    (folder / inside).write_text(source + planted, encoding="utf-8")
    return folder


def copy_without(tree: Path, folder: Path, missing: Path) -> Path:
    """The tree without one file, all else linked."""
    (folder / missing).parent.mkdir(parents=True)
    for level in missing.parents[:-1]:
        for entry in (tree / level).iterdir():
            if not (folder / level / entry.name).exists() and entry.name != missing.name:
                (folder / level / entry.name).symlink_to(entry)
    return folder
