"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from radixproof.cli.errors import UsageError
from radixproof.impl.torch_cache.subject import open_torch
from radixproof.model.config import (
    COMPONENT_SETS,
    MAMBA,
    MAMBA_STRATEGIES,
    NO_BUFFER,
    WRITE_POLICIES,
)
from radixproof.model.reference import ReferenceModel
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.configs import Limits
from radixproof.stateful_tests.variants import VARIANTS

Options = argparse._ActionsContainer
"""A parser, or a group of its options."""

CACHES = "torch (default), model, a known-wrong variant such as M-1"
SUBJECTS = f"{CACHES}, sglang==VERSION or sglang:PATH"


def add_subject(options: Options, subjects: str = SUBJECTS) -> None:
    options.add_argument("--subject", default="torch", metavar="NAME", help=subjects)


def add_device(options: Options) -> None:
    options.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="where torch's pools are"
    )


def add_limits(options: Options) -> None:
    """What configurations are drawn."""
    add_components(options)
    add_shapes(options)
    add_strategy(options)


def add_components(options: Options) -> None:
    known = "; ".join(",".join(c) for c in COMPONENT_SETS)
    options.add_argument("--components", metavar="LIST", help=f"one of {known}")
    options.add_argument("--policy", choices=tuple(WRITE_POLICIES), help="write policy")


def add_shapes(options: Options) -> None:
    options.add_argument("--page-size", type=positive, metavar="N", help="tokens in a page")
    options.add_argument(
        "--bigram", action="store_true", default=None, help="keys are pairs of tokens (EAGLE)"
    )
    options.add_argument(
        "--kv-events", action="store_true", default=None, help="the cache tells of its blocks"
    )


def add_strategy(options: Options) -> None:
    options.add_argument(
        "--mamba-strategy",
        choices=MAMBA_STRATEGIES,
        help="of states: tracking buffer, or none",
    )


def add_servers(options: Options) -> None:
    """Kinds of server that only a release of SGLang can be."""
    options.add_argument("--sessions", action="store_true", help="a server with streaming sessions")
    options.add_argument(
        "--budget",
        action="store_true",
        help="its scheduler's own budget admits requests and forms batches",
    )
    options.add_argument(
        "--decode-server",
        action="store_true",
        help="prompts arrive computed (prefill-decode disaggregation)",
    )


def add_json(options: Options) -> None:
    options.add_argument("--json", metavar="FILE", help="write the result for machines")


def positive(text: str) -> int:
    """An integer of at least 1."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """An integer of at least 0."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
    return value


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text}")
    return value


def subject_of(args: argparse.Namespace) -> OpenSubject:
    """The cache to be judged. Raises ``UsageError`` for one that is not there."""
    name: str = args.subject
    if name == "torch":
        if args.device == "cuda":
            require_cuda()
        return partial(open_torch, device=args.device)
    if args.device != "cpu":
        raise UsageError(f"--device {args.device} goes with --subject torch only")
    if name == "model":
        return ReferenceModel
    if name in VARIANTS:
        return VARIANTS[name].open
    if name.startswith("sglang"):
        raise UsageError("this command does not take SGLang; check, replay and diff do")
    raise UsageError(f"no subject {name!r}; there are {SUBJECTS}")


def require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UsageError("no CUDA device is available; use --device cpu")


def limits_of(args: argparse.Namespace) -> Limits:
    """What the user fixed. Raises ``UsageError`` for components that do not exist."""
    components, strategy = None, getattr(args, "mamba_strategy", None)
    tracks = strategy not in (None, NO_BUFFER)
    subjects = [args.subject] if isinstance(args.subject, str) else args.subject
    if tracks and not all(s.startswith("sglang") for s in subjects):
        raise UsageError(f"--mamba-strategy {strategy} goes with --subject sglang only")
    if tracks and MAMBA not in (args.components or "").split(","):
        raise UsageError("--mamba-strategy goes with --components full,mamba or full,swa,mamba")
    if args.components is not None:
        components = tuple(args.components.split(","))
        if components not in COMPONENT_SETS:
            known = "; ".join(",".join(c) for c in COMPONENT_SETS)
            raise UsageError(f"--components must be one of {known}, not {args.components!r}")
        if MAMBA in components and not tracks and args.page_size not in (None, 1):
            raise UsageError("--page-size must be 1 with mamba, without a tracking buffer")
        if MAMBA in components and args.bigram:
            raise UsageError("--bigram goes without mamba: SGLang makes no pairs beside states")
    budget = bool(getattr(args, "budget", False))
    decode_server = bool(getattr(args, "decode_server", False))
    if (budget or decode_server) and components is not None and MAMBA in components:
        raise UsageError("--budget and --decode-server go without mamba")
    if budget and decode_server:
        raise UsageError("--budget goes without --decode-server, which computes no prompt")
    if decode_server and args.bigram:
        raise UsageError("--decode-server goes without --bigram")
    sessions = getattr(args, "sessions", False)
    if sessions and (args.bigram or (components and MAMBA in components)):
        raise UsageError("--sessions goes without --bigram and without mamba so far")
    if sessions and (budget or decode_server):
        raise UsageError("--sessions goes without --budget and --decode-server so far")
    return Limits(
        components,
        args.policy,
        args.page_size,
        bigram=args.bigram,
        kv_events=args.kv_events,
        budget=budget,
        sessions=sessions,
        mamba_strategy=strategy if tracks else None,
        decode_server=decode_server,
    )


def variants_named(ids: Sequence[str]) -> Sequence[str]:
    """Those variants, or all if none is named. Raises ``UsageError`` for one that is not there."""
    unknown = [id for id in ids if id not in VARIANTS]
    if unknown:
        raise UsageError(f"no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")
    return ids or tuple(VARIANTS)


def writable(path: str | None) -> Path | None:
    """Where the JSON goes; checked before the work, not after it."""
    if path is None:
        return None
    target = Path(path)
    folder = target.parent
    if target.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: no such folder, or not writable")
    if target.exists() and not os.access(target, os.W_OK):
        raise UsageError(f"cannot write {path}: not writable")
    return target
