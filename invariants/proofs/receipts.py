"""Taking and giving back a lock receipt (domain.md 5.7, 5.8), which several transitions do."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Formula, Term, Update, forall, gains, loses
from radixproof.invariants.proofs.vocabulary import (
    anchor,
    device,
    edge,
    full,
    h,
    has,
    holds,
    host,
    k,
    lock,
    mamba,
    root,
    stale,
    swa,
    t,
    takes,
    up,
    uses,
    x,
    z,
)


def on_path(lower: Term, upper: Term, node: Term) -> Formula:
    """The node lies on the path from ``lower`` up to ``upper``; the root never does."""
    return up(lower, node) & up(node, upper) & node.is_not(root)


def device_receipt(holder: Term, node: Term, top: Term) -> tuple[Update, ...]:
    """FULL on the whole path, SWA on the window, which ends at ``top``, MAMBA on the node."""
    mine = t.is_(device) & h.is_(holder)
    counted = uses(k) & node.is_not(root)
    extent = (k.is_(full) & x.is_(root)) | (k.is_(swa) & x.is_(top)) | (k.is_(mamba) & x.is_(node))
    covered = (
        (k.is_(full) & on_path(node, root, x))
        | (k.is_(swa) & on_path(node, top, x))
        | (k.is_(mamba) & x.is_(node))
    )
    return (
        gains(holds(t, h), mine),
        gains(anchor(t, h, x), mine & x.is_(node)),
        gains(takes(k, t, h), mine & counted),
        gains(edge(k, t, h, x), mine & counted & extent),
        gains(lock(k, t, h, x), mine & counted & covered),
    )


def host_receipt(holder: Term, node: Term, top: Term) -> tuple[Update, ...]:
    """FULL on the node if it is backed up, SWA on the window, MAMBA on the node."""
    mine = t.is_(host) & h.is_(holder)
    counted = uses(k) & node.is_not(root) & (k.is_not(full) | has(full, host, node))
    extent = (k.is_not(swa) & x.is_(node)) | (k.is_(swa) & x.is_(top))
    covered = (k.is_not(swa) & x.is_(node)) | (k.is_(swa) & on_path(node, top, x))
    return (
        gains(holds(t, h), mine),
        gains(anchor(t, h, x), mine & x.is_(node)),
        gains(takes(k, t, h), mine & counted),
        gains(edge(k, t, h, x), mine & counted & extent),
        gains(lock(k, t, h, x), mine & counted & covered),
    )


def returned(mine: Formula) -> tuple[Update, ...]:
    """The receipts that satisfy ``mine`` (of tier ``t`` and holder ``h``) end."""
    return (
        loses(holds(t, h), mine),
        loses(anchor(t, h, x), mine),
        loses(takes(k, t, h), mine),
        loses(edge(k, t, h, x), mine),
        loses(lock(k, t, h, x), mine),
        loses(stale(k, t, h, x), mine),
    )


def window(node: Term, top: Term) -> Formula:
    """``top`` can be the topmost node of a window that ends at ``node``."""
    return up(node, top) & (top.is_not(root) | node.is_(root))


def unlocked(node: Term, tier: Term | None = None, component: Term | None = None) -> Formula:
    """Nobody holds the node: on this tier, or on any, of this component, or of any."""
    bound = [h, *([t] if tier is None else []), *([k] if component is None else [])]
    return forall(*bound)(~lock(component or k, tier or t, h, node))


def changes_under_locks(tier: Term, node: Term, component: Term | None = None) -> Update:
    """A value that was there is dropped or overwritten: who locks it is left with nothing."""
    what = k.is_(component) if component is not None else k.is_(k)
    return gains(
        stale(k, t, h, x), x.is_(node) & t.is_(tier) & what & lock(k, t, h, x) & has(k, t, x)
    )


def nobody_above(node: Term, missing: Formula) -> Formula:
    """No proper ancestor ``z`` of the node satisfies ``missing``."""
    return forall(z)(~(up(node, z) & z.is_not(node) & missing))
