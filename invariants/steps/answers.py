"""What operations of a request answer is what happened (``model/operations.py``; domain.md 6.9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from radixproof.invariants.catalogue import WITH_SWA, Step, step_invariant
from radixproof.invariants.steps.compare import aligned, as_told, is_ok, length_present, settles
from radixproof.invariants.view import View
from radixproof.invariants.violation import Fault
from radixproof.model import operations as op
from radixproof.model.options import SLIDES_IN_PREFILL
from radixproof.model.snapshot import Request


def _request(view: View, name: str) -> Request | None:
    return next((r for r in view.requests if r.name == name), None)


@step_invariant(
    "S-admit-2",
    op.Admit,
    op.Prepare,
    formula="ok => device_hit, host_hit, swa_host_hit = those of the prompt but its last token in"
    " the state before; loaded = loads queued",
    without_it="The scheduler budgets a request by what it was told is cached.",
    taught_by="M-25, M-26, M-37",
)
def an_admission_reports_what_a_match_would(step: Step) -> Iterator[Fault]:
    """The hits of an admission are those of a match of all its tokens but the last."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Admit | op.Prepare)
    o = step.operation
    if step.before.config.decode_server:
        return  # it asks for what it will not be sent, by a rule of its own
    hits = _hits(step.before, o.namespace, aligned(step.before, o.tokens[:-1]))
    wanted = as_told(step.before, hits)
    best = wanted.pop("best_match")
    if isinstance(o, op.Prepare):
        wanted["best_match"] = best
    else:
        wanted["loaded"] = len(step.after.loads) - len(step.before.loads)
    for name, length in wanted.items():
        if step.outcome.values.get(name) != length:
            yield Fault(f"{name} is {step.outcome.values.get(name)}, not {length}")


@step_invariant(
    "S-admit-3",
    op.Admit,
    formula="ok => the new request has the given tokens, namespace and priority, a prompt of all"
    " tokens, swa_evicted 0 (decode server: at most what its window leaves)",
    without_it="A prompt that is cut short or filed under another adapter gets a wrong answer.",
    taught_by="M-33",
)
def an_admitted_request_is_the_one_given(step: Step) -> Iterator[Fault]:
    """A request runs with the tokens it came with, and has given up nothing of its window."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.Admit)
    o, r = step.operation, _request(step.after, step.operation.request)
    wanted = (o.namespace, o.tokens, len(o.tokens), o.priority)
    if r and (r.namespace, r.tokens, r.prompt_len, r.priority) != wanted:
        yield Fault(f"request {r.name} is not the one that was given")
    config = step.after.config  # what arrives has SWA for the window alone
    spared = max(0, len(o.tokens) + 1 - config.sliding_window) if config.decode_server else 0
    if r and r.swa_evicted > spared:
        yield Fault(f"request {r.name} begins with {r.swa_evicted} tokens outside its window")


@step_invariant(
    "S-prefill-2",
    op.Prefill,
    op.Finish,
    formula="ok => prefix_len = length present before of the key; less only where this step's own"
    " eviction took some of it, never less than protected",
    without_it="What was computed twice would count as a hit, or a hit as computed.",
    taught_by="M-4",
    of_turns=False,
)
def caching_reports_what_the_tree_had(step: Step) -> Iterator[Fault]:
    """``prefix_len`` is the length of the request's key that was in the tree already."""
    o = step.operation
    assert isinstance(o, op.Prefill | op.Finish)
    old = _request(step.before, o.request)
    if not is_ok(step) or old is None:
        return
    computed = old.committed + (o.count if isinstance(o, op.Prefill) else 0)
    key = aligned(step.before, old.tokens[:computed])
    had = length_present(step.before, old.namespace, key)
    evicted = any(not parts for parts in step.fragments.values())
    least = min(old.protected, had) if evicted else had
    told = step.outcome.values.get("prefix_len", -1)
    if not least <= told <= had:
        yield Fault(f"prefix_len is {told}, the tree had {had} of {len(key)} tokens")


@step_invariant(
    "S-prefill-3",
    op.Prefill,
    op.Decode,
    op.SlideWindow,
    formula="ok => namespace, prompt_len, priority, state slot as before; tokens change in Decode"
    " only, swa_evicted in SlideWindow only, protected and last_node in Prefill only; the row"
    " outside [protected before, protected after) as before, its length max(before,"
    " ceil_page(committed + ahead))",
    without_it="A row entry that moves unasked is another prompt's KV under this one's token.",
    taught_by="M-4, M-33",
)
def a_running_request_changes_only_as_it_proceeds(step: Step) -> Iterator[Fault]:
    """Computing and sliding leave the rest of the request as it was."""
    if not is_ok(step):
        return
    o = step.operation
    assert isinstance(o, op.Prefill | op.Decode | op.SlideWindow)
    old, new = _request(step.before, o.request), _request(step.after, o.request)
    if old is None or new is None:
        return
    fixed = ["namespace", "prompt_len", "priority"]
    if not settles(step, old, new):
        fixed.append("state_slot")
    if not isinstance(o, op.Decode):
        fixed.append("tokens")
    slides = isinstance(o, op.Prefill) and SLIDES_IN_PREFILL in step.after.options
    if not isinstance(o, op.SlideWindow) and not slides:
        fixed.append("swa_evicted")
    if not isinstance(o, op.Prefill):
        fixed.append("protected")
    fixed += ["committed"] if isinstance(o, op.SlideWindow) else []
    for name in fixed:
        if getattr(old, name) != getattr(new, name):
            yield Fault(f"{name} of {new.name} changed")
    size = step.after.config.page_size
    ahead = o.ahead if isinstance(o, op.Decode) else 0
    length = max(len(old.row), -(-(new.committed + ahead) // size) * size)
    first, last = old.row[: old.protected], old.row[new.protected :]
    again = new.row[: old.protected], new.row[new.protected : len(old.row)]
    if (first, last) != again or len(new.row) != length:
        yield Fault(f"the row of {new.name} changed where nothing was cached")


@step_invariant(
    "S-decode-2",
    op.Decode,
    op.SlideWindow,
    formula="ok => committed (Decode), swa_evicted (SlideWindow) = the request's afterwards",
    without_it="The scheduler places the next token by this number.",
    taught_by="M-33",
)
def a_request_is_told_how_far_it_is(step: Step) -> Iterator[Fault]:
    """The progress that an operation answers is the progress that the request has made."""
    if not is_ok(step):
        return
    o = step.operation
    assert isinstance(o, op.Decode | op.SlideWindow)
    r = _request(step.after, o.request)
    name = "committed" if isinstance(o, op.Decode) else "swa_evicted"
    if r is not None and step.outcome.values.get(name) != getattr(r, name):
        yield Fault(f"{name} is {getattr(r, name)}, told {step.outcome.values.get(name)}")


@step_invariant(
    "S-slide-window-2",
    op.SlideWindow,
    formula="ok => swa_evicted = floor_page(max(swa_evicted before, protected, committed - W -"
    " page)); freed = tokens between that had SWA data",
    without_it="A window that does not slide holds memory that nothing will ever read.",
    taught_by="M-33, SGLang 34870",
    holds_under=WITH_SWA,
)
def sliding_frees_all_that_left_the_window(step: Step) -> Iterator[Fault]:
    """Sliding goes as far as the window allows, keeping one page more than it needs."""
    if not is_ok(step):
        return
    assert isinstance(step.operation, op.SlideWindow)
    old = _request(step.before, step.operation.request)
    new = _request(step.after, step.operation.request)
    if old is None or new is None:
        return
    config = step.before.config
    begin = max(old.swa_evicted, old.protected)
    end = max(begin, old.committed - config.sliding_window - config.page_size)
    end -= end % config.page_size
    if new.swa_evicted != end:
        yield Fault(f"swa_evicted is {new.swa_evicted}, the window allows {end}")
    before, after = step.before.full_to_swa, step.after.full_to_swa
    freed = [x for x in old.row[begin:end] if 0 <= x < len(before) and before[x]]
    if step.outcome.values.get("freed") != len(freed):
        yield Fault(f"freed {step.outcome.values.get('freed')}, {len(freed)} had left the window")
    changed = [x for x, y in enumerate(before) if x < len(after) and after[x] != y]
    if sorted(freed) != changed:
        yield Fault(f"slots {changed} lost their SWA data, not {sorted(freed)}")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A node, or the part of one that a key reaches into."""

    start: int
    end: int
    full: frozenset[str]
    swa: frozenset[str]
    mamba: frozenset[str]
    """Empty for a part: a state is that of the whole node's prefix."""


def best_match(view: View, namespace: str, key: tuple[int, ...]) -> int:
    """Length of the longest prefix of a key that both tiers together make usable (6.1)."""
    return _hits(view, namespace, key)["best_match"]


def _hits(view: View, namespace: str, key: tuple[int, ...]) -> dict[str, int]:
    """What 6.1 finds, read off an unsplit tree: ends are node ends and where the key leaves one."""
    config = view.config
    pieces = [] if config.disable else _pieces(view, namespace, key)
    tiers = frozenset(("device", "host") if config.has_host else ("device",))

    def usable(end: int, allowed: frozenset[str]) -> bool:
        path = [p for p in pieces if p.end <= end]
        window = [p for p in path if p.end > end - config.sliding_window]
        return bool(path[-1].full & allowed) and (
            (not config.has_swa or all(p.swa & allowed for p in window))
            and (not config.has_mamba or bool(path[-1].mamba & allowed))
        )

    device = max((p.end for p in pieces if usable(p.end, frozenset({"device"}))), default=0)
    best = max((p.end for p in pieces if usable(p.end, tiers)), default=0)
    path = [p for p in pieces if p.end <= best]
    below = [p for p in path if p.start >= device and "host" in p.full]
    window = [p for p in path if p.end > best - config.sliding_window]
    host_only = [p for p in window if p.swa == {"host"}]
    hits = {
        "device_hit": device,
        "best_match": best,
        "host_hit": sum(p.end - p.start for p in below),
        "swa_host_hit": sum(p.end - p.start for p in host_only),
    }
    if config.has_mamba:
        hits["mamba_host_hit"] = int(bool(path) and path[-1].mamba == {"host"})
    return hits


def _pieces(view: View, namespace: str, key: tuple[int, ...]) -> list[_Piece]:
    size, pieces = view.config.page_size, []
    for n in view.nodes:
        if n.namespace != namespace or n.tokens[: n.start] != key[: n.start]:
            continue
        end = n.start
        while end + size <= min(n.end, len(key)) and n.tokens[: end + size] == key[: end + size]:
            end += size
        if end > n.start:
            full, swa, mamba = (
                frozenset(t for t in ("device", "host") if p and getattr(p, t) is not None)
                for p in (n.full, n.swa, n.mamba if end == n.end else None)
            )
            pieces.append(_Piece(n.start, end, full, swa, mamba))
    return sorted(pieces, key=lambda p: p.end)
