"""Releases with a defect of ours, to show that a check can fail on one."""

from __future__ import annotations

from pathlib import Path

from radixproof.stateful_tests.mutation.planting import linked_copy

CACHE = Path("sglang/srt/mem_cache/unified_radix_cache.py")
ADAPTER = Path("sglang/srt/mem_cache/rust_tree_core/adapter.py")


def broken_copy(
    tree: Path, folder: Path, method: str, *, inside: Path = CACHE, kind: str = "UnifiedRadixCache"
) -> Path:
    """The tree with one method added at the end of a class of one module, all else linked."""
    source = (tree / inside).read_text(encoding="utf-8")
    planted = f"\n\nclass _Broken{kind}({kind}):\n{method}\n\n{kind} = _Broken{kind}\n"
    return linked_copy(tree, folder, {str(inside): source + planted})
