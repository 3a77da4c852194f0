"""Importing the cache of an SGLang tree where most of SGLang cannot be imported.

Three kinds of module, decided by an allow-list, so that nothing heavy and nothing that decides
anything slips in:

* *real*: executed from the tree, unmodified (``REAL``);
* *bare*: a package on the way to a real module; its ``__init__`` does not run;
* *stub*: everything else of ``sglang``, and third-party packages that are not installed but that
  sglang code imports. Names of a stub may be imported, subclassed, used as decorator or
  annotation; calling one raises ``StubCalled``. A stub can stop a run, never change one.
  What of sglang is not in the tree is no stub: a module that has no file, or a name that its
  module's source does not have, fails to import, as on a server.

``VALUES`` holds the few names of stubs that the CPU path evaluates, with the answer that this
machine gives. ``Audit`` keeps what was stubbed, looked at and called.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

REAL = (
    "sglang.srt.mem_cache.*",
    "sglang.srt.managers.cache_controller",
    "sglang.srt.managers.schedule_batch",
    "sglang.srt.managers.schedule_policy",
    "sglang.srt.managers.scheduler_components.pool_stats_observer",
    "sglang.srt.managers.scheduler_components.batch_result_processor",
    "sglang.srt.dllm.mixin.req",
    "sglang.srt.sampling.sampling_params",
    "sglang.srt.sampling.watermarking.*",
    "sglang.srt.session.*",
    "sglang.srt.utils.*",
    "sglang.srt.environ",
    "sglang.srt.constants",
    "sglang.srt.platforms.*",
    "sglang.srt.plugins.*",
    "sglang.srt.runtime_context",
    "sglang.srt.disaggregation.kv_events",
    "sglang.srt.disaggregation.decode",
    "sglang.srt.disaggregation.decode_hicache_mixin",
    "sglang.srt.observability.metrics_collector",
    "sglang.srt.observability.req_time_stats",
    "sglang.srt.observability.trace",
    "sglang.srt.distributed.communication_tags",
    "sglang.srt.configs.mamba_utils",
    "sglang.srt.rust_extensions.*",
    "sglang.srt.layers.quantization.fp4_kv_cache_quant_method",
)
"""Modules that are executed; ``.*`` takes the package and all below it."""

_DECORATOR_FACTORIES = {"triton", "tvm_ffi"}
"""Stubbed packages whose calls at import time only decorate kernels that the CPU never runs."""
ABSENT = ("sglang", "torch", "numpy", "opentelemetry")
"""Packages that are never stubbed: what is missing of them is missing, and imports fall back."""
_MACHINERY = ("<frozen importlib", "importlib/__init__.py", "importlib/util.py")


class StubCalled(RuntimeError):
    """Something outside the allow-list was about to run: the allow-list needs an entry."""


@dataclass
class Audit:
    """What stood in for what. ``called`` must stay empty."""

    stubbed: dict[str, str] = field(default_factory=dict)
    """Stub module -> the sglang file that imported it first."""
    looked_at: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)


AUDIT = Audit()


class _Placeholder(type):
    """The type of every name of a stub: usable at import time, not callable."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _placeholder(f"{cls.__qualname__}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "__stub__" not in cls.__dict__:  # a real class that derives from a stub
            return super().__call__(*args, **kwargs)
        if len(args) == 1 and not kwargs and _is_decorated(args[0]):
            return args[0]
        if cls.__qualname__.split(".")[0] in _DECORATOR_FACTORIES:
            return lambda decorated: decorated
        AUDIT.called.append(cls.__qualname__)
        raise StubCalled(f"{cls.__qualname__} is outside the allow-list and was called")

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls

    def __bool__(cls) -> bool:
        return False

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


def _is_decorated(value: Any) -> bool:
    return isinstance(value, FunctionType) or (
        isinstance(value, type) and "__stub__" not in value.__dict__
    )


def _accept_subclass(cls: Any, /, **kwargs: Any) -> None:
    """Subclassing a stub takes any class keywords."""


def _placeholder(name: str) -> type:
    return _Placeholder(
        name.rsplit(".", 1)[-1],
        (),
        {
            "__qualname__": name,
            "__module__": "stub",
            "__stub__": True,
            "__init_subclass__": classmethod(_accept_subclass),
        },
    )


class _StubModule(ModuleType):
    """Any name can be imported from it that ``has`` does not deny."""

    values: Mapping[str, Any] = {}
    has: Callable[[str], bool] = staticmethod(lambda name: True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        if not self.has(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        full = f"{self.__name__}.{name}"
        AUDIT.looked_at.add(full)
        if full in self.values:
            value = self.values[full]
        else:
            value = "0.0.0" if name == "__version__" else _placeholder(full)
        setattr(self, name, value)
        return value


class _Source:
    """What can be read, without running it, of a module of the tree that is not executed."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root.joinpath(*name.split("."))
        init, file = self.folder / "__init__.py", self.folder.with_suffix(".py")
        self.file = init if init.is_file() else file if file.is_file() else None

    def exists(self) -> bool:
        """A module, a package, or something compiled."""
        compiled = self.folder.parent.glob(f"{self.folder.name}.*.so")
        return self.file is not None or self.folder.is_dir() or any(compiled)

    def has(self, name: str) -> bool:
        """Whether a name may be the module's: it is a submodule, or a word of the source.

        A module that is compiled, or that takes names from elsewhere unseen, may have any.
        """
        if self.file is None:
            return True
        if (self.folder / name).is_dir() or (self.folder / f"{name}.py").is_file():
            return True
        text = _text(self.file)
        return "import *" in text or re.search(rf"\b{re.escape(name)}\b", text) is not None


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


class _StubLoader(importlib.abc.Loader):
    """``folder``: where a bare package has its real submodules; ``source``: what it stands for."""

    def __init__(self, folder: Path | None = None, source: _Source | None = None) -> None:
        self.folder = folder
        self.source = source

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = _StubModule(spec.name)
        if self.source is not None:
            module.has = self.source.has
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = [str(self.folder)] if self.folder else []


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a module is one of the patterns."""
    return any(
        name == p.removesuffix(".*") or (p.endswith(".*") and name.startswith(p[:-1]))
        for p in patterns
    )


class _OfSglang(importlib.abc.MetaPathFinder):
    """First finder: decides for every module of sglang."""

    def __init__(self, root: Path) -> None:
        self.root = root
        ancestors = {p.removesuffix(".*").rsplit(".", n)[0] for p in REAL for n in range(1, 6)}
        self.bare = {a for a in ancestors if not matches(a, REAL)}

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] != "sglang" or matches(name, REAL):
            return None  # the ordinary finder takes it
        if name in self.bare:
            return _spec(name, _StubLoader(self.root.joinpath(*name.split("."))))
        source = _Source(self.root, name)
        if not source.exists():
            return None  # no finder has it, and the import fails
        AUDIT.stubbed.setdefault(name, _importer())
        return _spec(name, _StubLoader(source=source))


class _NotInstalled(importlib.abc.MetaPathFinder):
    """Last finder: a third-party package that is not there, and that sglang code imports."""

    def __init__(self, root: Path) -> None:
        self.inside = str(root / "sglang")

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        importer = _importer()
        if name.split(".")[0] in ABSENT:
            return None
        if not importer.startswith(self.inside):
            return None
        AUDIT.stubbed.setdefault(name, importer)
        return _spec(name, _StubLoader())


def _spec(name: str, loader: _StubLoader) -> importlib.machinery.ModuleSpec:
    return importlib.machinery.ModuleSpec(name, loader, is_package=True)


def _importer() -> str:
    """The file whose import statement is being answered."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not any(part in file for part in _MACHINERY):
            return file
        frame = frame.f_back
    return ""


def install(root: Path, values: Mapping[str, Any]) -> None:
    """Make ``import sglang...`` find the tree at ``root`` (the folder that has ``sglang/``).

    Once per process, before anything of sglang is imported. ``values`` are the answers of stubbed
    names, by full name.
    """
    if "sglang" in sys.modules:
        raise RuntimeError("an SGLang tree is loaded already; one process holds one")
    from torch.utils import _triton

    _triton.has_triton_package()  # torch remembers its own answer before triton is stubbed
    _StubModule.values = dict(values)
    sys.path.insert(0, str(root))
    sys.meta_path.insert(0, _OfSglang(root))
    sys.meta_path.append(_NotInstalled(root))
