"""Where a release comes from: a wheel of the package index, or a tree on disk.

Wheels are fetched by pip without their dependencies, kept with their hash in a cache, and never
imported into the process that fetches them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

PYTHON = "python"
RUST = "rust"
CORES = (PYTHON, RUST)
FETCH_SECONDS = 600
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]*")


class NoSuchRelease(Exception):
    """A release or tree that cannot be had; one line that says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """``root``: the folder that holds ``sglang/``; ``name``: how reports call it."""

    root: Path
    name: str
    core: str = PYTHON


def locate(subject: str, core: str = PYTHON) -> Source:
    """``sglang==VERSION`` or ``sglang:PATH``. Raises ``NoSuchRelease``."""
    label = f"{subject} ({core} core)" if core != PYTHON else subject
    if subject.startswith("sglang=="):
        return Source(fetch(subject.removeprefix("sglang==")), label, core)
    if subject.startswith("sglang:"):
        return Source(tree_at(Path(subject.removeprefix("sglang:"))), label, core)
    raise NoSuchRelease(f"{subject!r} is neither sglang==VERSION nor sglang:PATH")


def tree_at(path: Path) -> Path:
    """The folder with ``sglang/`` in a checkout, an installed tree or an unpacked wheel."""
    for root in (path, path / "python", path.parent if path.name == "sglang" else path):
        if (root / "sglang" / "srt" / "mem_cache").is_dir():
            return root.resolve()
    raise NoSuchRelease(f"{path} holds no SGLang: there is no sglang/srt/mem_cache below it")


def cache_folder() -> Path:
    """``RADIXPROOF_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("RADIXPROOF_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "radixproof"


def fetch(version: str) -> Path:
    """The unpacked wheel of a release, from the cache if it is there. Raises ``NoSuchRelease``."""
    if not _VERSION.fullmatch(version):
        raise NoSuchRelease(f"{version!r} is no version")
    folder = cache_folder() / "wheels" / version
    tree = folder / "tree"
    if (folder / "sha256").is_file() and tree.is_dir():
        return tree
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheel = _download(version, Path(scratch))
        _unpack(wheel, Path(scratch) / "tree")
        digest = sha256(wheel.read_bytes()).hexdigest()
        (Path(scratch) / "sha256").write_text(f"{digest}  {wheel.name}\n", encoding="utf-8")
        wheel.unlink()
        if folder.exists():
            shutil.rmtree(folder)
        Path(scratch).rename(folder)
        Path(scratch).mkdir()  # for the context manager to remove
    return tree


def _download(version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"sglang=={version}"]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoSuchRelease(f"the wheel of SGLang {version} did not come in time") from None
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        told = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        why = told[-1].removeprefix("ERROR: ") if told else f"pip ended with {run.returncode}"
        raise NoSuchRelease(f"SGLang {version} cannot be fetched: {why}")
    return wheels[0]


def _unpack(wheel: Path, tree: Path) -> None:
    """Only what the cache is made of: ``sglang/``."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = [n for n in archive.namelist() if n.startswith("sglang/")]
            archive.extractall(tree, [n for n in inside if not n.startswith(_LEFT_OUT)])
    except zipfile.BadZipFile:
        raise NoSuchRelease(f"{wheel.name} is no wheel") from None


_LEFT_OUT = ("sglang/multimodal_gen/", "sglang/test/", "sglang/lang/", "sglang/benchmark/")
"""Large parts of SGLang that the cache never imports."""


def require_packages() -> None:
    """Raises ``NoSuchRelease`` if what every SGLang imports is not installed."""
    missing = [p for p in ("msgspec", "psutil", "packaging") if importlib.util.find_spec(p) is None]
    if missing:
        raise NoSuchRelease(f"to run SGLang, install {', '.join(missing)}: radixproof[sglang]")
