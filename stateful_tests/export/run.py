"""Runs an exported test on a machine that has neither a GPU nor all of SGLang installed.

    python -m radixproof.stateful_tests.export.run ROOT FILE

``ROOT`` is the folder that has ``sglang/``. The file is run as it is; around it stand the
allow-list of imports and the stand-ins for CUDA (impl/sglang). Exit status 0: passed; 10: an
assertion failed; anything else: it did not run to its end.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import unittest
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch

import radixproof
from radixproof.impl.sglang import configuration
from radixproof.impl.sglang.release import Release
from radixproof.impl.sglang.wheels import Source
from radixproof.model.config import CacheConfig

PASSED, FAILED, BROKEN = 0, 10, 11
SECONDS = 180
CHILDREN = "RADIXPROOF_EXPORT_CHILDREN"
"""Environment: the folder whose ``sitecustomize`` is for the processes that a test starts."""
ROOT = "RADIXPROOF_EXPORT_ROOT"
_OF_CHILDREN = f"""
import os
from pathlib import Path
from {__name__} import stand_in
stand_in(Path(os.environ["{ROOT}"]))
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a test file ended on a release; ``told`` is what unittest printed."""

    status: int
    told: str


def run_on(source: Source, file: Path) -> Ran:
    """Run a test file on a release in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, str(source.root), str(file)]
    with TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(_OF_CHILDREN, encoding="utf-8")
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                env={**os.environ, CHILDREN: folder},
            )
        except subprocess.TimeoutExpired:
            return Ran(BROKEN, f"it did not end within {SECONDS} s")
    known = done.returncode in (PASSED, FAILED)
    return Ran(done.returncode if known else BROKEN, done.stdout + done.stderr)


def _server_arguments(**given: Any) -> SimpleNamespace:
    """In place of ``ServerArgs``: the fields that the cache reads."""
    known = vars(configuration.server_arguments(CacheConfig()))
    return SimpleNamespace(**{**known, "speculative_algorithm": None, **given})


def _publish(release: Release, arguments: Any) -> None:
    """In place of ``set_global_server_args_for_scheduler``."""
    seeded = getattr(arguments, "_mamba_cache_chunk_size", arguments.mamba_cache_chunk_size)
    arguments.mamba_cache_chunk_size = seeded
    configuration.publish(release.context, arguments)


def stand_in(root: Path) -> None:
    """Make this process one in which SGLang can be imported, without a GPU."""
    torch.set_num_threads(1)
    release = Release(root)
    server_args: Any = importlib.import_module("sglang.srt.server_args")
    server_args.ServerArgs = _server_arguments
    server_args.set_global_server_args_for_scheduler = partial(_publish, release)


def main() -> int:
    root, file = Path(sys.argv[1]), Path(sys.argv[2])
    stand_in(root)
    package = str(Path(radixproof.__file__).parents[1])
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ[CHILDREN], package, before])
    os.environ[ROOT] = str(root)
    spec = importlib.util.spec_from_file_location("exported", file)
    if spec is None or spec.loader is None:
        print(f"{file} is no Python file")
        return BROKEN
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
    if result.errors or result.skipped or not result.testsRun:
        return BROKEN
    return FAILED if result.failures else PASSED


if __name__ == "__main__":
    sys.exit(main())
