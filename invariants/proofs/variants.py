"""Known-wrong rules (domain.md 9), as changes of the theory: each must be refuted.

The wrong caches of ``stateful_tests/variants`` have the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

from radixproof.invariants.proofs.logic import (
    Update,
    becomes,
    exists,
    forall,
    gains,
    loses,
    parameter,
)
from radixproof.invariants.proofs.receipts import on_path
from radixproof.invariants.proofs.slots.theory import RULES as SLOT_RULES
from radixproof.invariants.proofs.system import Transition, WrongRule
from radixproof.invariants.proofs.theory import THEORY
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    anchor,
    copies,
    device,
    edge,
    fills,
    flying,
    full,
    good,
    h,
    has,
    holds,
    host,
    k,
    lock,
    mamba,
    marked,
    parent,
    root,
    short,
    swa,
    t,
    takes,
    up,
    uses,
    x,
    z,
)

_right = THEORY.transition
_split, _backup, _hit, _demote = _right("split"), _right("backup"), _right("hit"), _right("demote")
_lock, _load, _evict_host = _right("lock"), _right("load-back"), _right("evict-host")
_upper, _lower = _split.parameters[1], _split.parameters[0]
_backed = _backup.parameters[1]
_SUMS = "lock-counts-are-sums-of-receipts"
_HOST_SUMS = "host-lock-counts-are-sums-of-receipts"
_SOURCE = "pending-writes-keep-their-source"
_MARKS = "pending-marks-are-exact"


_robbed = parameter("robbed", HOLDER)
_quitting_tier, _quitting = _right("unlock").parameters

RULES = (
    WrongRule(
        "M-1",
        "below an unbacked parent the backup is silently skipped (upstream PR 25065)",
        THEORY,
        (
            _hit.without("backed-up").requiring(
                backed_up_or_skipped=has(full, host, _hit.parameters[0])
                | exists(z)(parent(_hit.parameters[0], z) & z.is_not(root) & ~has(full, host, z))
            ),
        ),
        (("hit", "hits-at-the-threshold-are-backed-up"),),
    ),
    WrongRule(
        "M-1b",
        "the child is backed up without its parent",
        THEORY,
        (_backup.without("ancestors-backed-up"),),
        (("backup", "backup-is-prefix-closed"),),
    ),
    WrongRule(
        "M-1c",
        "a parent's refused backup is ignored",
        THEORY,
        (
            _backup.without("ancestors-backed-up").requiring(
                ancestors_backed_up_or_refused=forall(z)(
                    ~(up(_backed, z) & z.is_not(_backed)) | has(full, host, z) | short(z)
                )
            ),
        ),
        (("backup", "backup-is-prefix-closed"),),
    ),
    WrongRule(
        "M-1d",
        "an ancestor backed up on the way is not locked while its copy runs",
        THEORY,
        (
            replace(
                _backup.keeping(holds, anchor, takes, edge, lock).requiring(
                    a_child_comes_next=exists(x)(
                        parent(x, _backed) & has(full, device, x) & ~has(full, host, x)
                    )
                ),
                name="backup-ancestor",
                meaning="Write-through queues the copy w of n on the way to a child of n.",
            ),
        ),
        (("backup-ancestor", _SOURCE),),
    ),
    WrongRule(
        "M-2",
        "a split does not tell the pending backup of its upper part",
        THEORY,
        (_split.keeping(copies),),
        (("split", _MARKS),),
    ),
    WrongRule(
        "M-3",
        "nothing is locked while a backup runs",
        THEORY,
        (_backup.keeping(holds, anchor, takes, edge, lock),),
        (("backup", _SOURCE),),
    ),
    WrongRule(
        "M-5",
        "a tombstone takes new FULL slots while a request reads the old ones",
        THEORY,
        (
            _right("replace")
            .without("full-unlocked")
            .requiring(no_copy_reads_it=forall(h)(~marked(h, _right("replace").parameters[0]))),
        ),
        (("replace", "locked-device-data-stays"),),
    ),
    WrongRule(
        "M-6",
        "a tombstone takes new FULL slots while a backup reads the old ones",
        THEORY,
        (
            _right("replace")
            .without("full-unlocked")
            .requiring(
                only_copies_read_it=forall(h)(
                    ~lock(full, device, h, _right("replace").parameters[0]) | flying(h)
                )
            ),
        ),
        (("replace", "locked-device-data-stays"),),
    ),
    WrongRule(
        "M-7",
        "demotion leaves SWA data and states on the device",
        THEORY,
        (
            _demote.updating(
                loses(has(k, t, x), x.is_(_demote.parameters[0]) & t.is_(device) & k.is_(full))
            ),
        ),
        (("demote", "swa-data-needs-full-data"),),
    ),
    WrongRule(
        "M-8",
        "a split does not copy device lock counts to the upper part",
        THEORY,
        (
            _split.updating(
                gains(
                    lock(k, t, h, x),
                    x.is_(_upper) & t.is_(host) & k.is_not(mamba) & lock(k, t, h, _lower),
                )
            ),
        ),
        (("split", _SUMS), ("split", "full-locks-are-upward-closed")),
    ),
    WrongRule(
        "M-8b",
        "a split leaves the pending mark on the lower part only",
        THEORY,
        (_split.keeping(marked),),
        (("split", _MARKS),),
    ),
    WrongRule(
        "M-8c",
        "a split leaves the receipts' boundaries at the lower part",
        THEORY,
        (_split.keeping(edge),),
        (("split", _SUMS), ("split", _HOST_SUMS)),
    ),
    WrongRule(
        "M-10",
        "the SWA part of a release walks to the root, over the locks of another holder",
        THEORY,
        (
            Transition(
                "unlock",
                _right("unlock").meaning,
                (*_right("unlock").parameters, _robbed),
                {**_right("unlock").guard, "another": _robbed.is_not(_quitting)},
                _right("unlock").updates,
            ).updating(
                loses(
                    lock(k, t, h, x),
                    t.is_(_quitting_tier)
                    & (
                        h.is_(_quitting)
                        | (k.is_(swa) & h.is_(_robbed) & ~lock(swa, t, _quitting, x))
                    ),
                )
            ),
        ),
        (("unlock", _SUMS), ("unlock", _HOST_SUMS)),
    ),
    WrongRule(
        "M-11",
        "a lock leaves out SWA tombstones",
        THEORY,
        (
            _lock.updating(
                gains(
                    lock(k, t, h, x),
                    t.is_(device)
                    & h.is_(_lock.parameters[0])
                    & _lock.parameters[1].is_not(root)
                    & (
                        (k.is_(full) & on_path(_lock.parameters[1], root, x))
                        | (
                            k.is_(swa)
                            & on_path(_lock.parameters[1], _lock.parameters[2], x)
                            & has(swa, device, x)
                        )
                        | (k.is_(mamba) & uses(k) & x.is_(_lock.parameters[1]))
                    ),
                )
            ),
        ),
        (("lock", _SUMS),),
    ),
    WrongRule(
        "M-14",
        "a reset does not wait for copies in flight",
        THEORY,
        (
            _right("reset")
            .without("no-copies", "nothing-held")
            .requiring(only_copies_hold=forall(t, h)(~holds(t, h) | flying(h))),
        ),
        (("reset", _SOURCE), ("reset", "pending-loads-keep-both-ends")),
    ),
    WrongRule(
        "M-17",
        "an ack is taken for finished by count, before its copy ran",
        THEORY,
        (_right("observe").without("executed"),),
        (("observe", "host-slots-hold-their-prefix"),),
    ),
    WrongRule(
        "M-22",
        "a split gives the old id to the upper part",
        THEORY,
        (
            _split.updating(
                becomes(
                    anchor(t, h, x),
                    (anchor(t, h, x) & x.is_not(_lower)) | (x.is_(_upper) & anchor(t, h, _lower)),
                )
            ),
        ),
        (("split", _SUMS),),
    ),
    WrongRule(
        "M-23",
        "host eviction takes host copies of device-resident nodes, too",
        THEORY,
        (
            Transition(
                "evict-host-copy",
                "Host eviction of the host data of n, which stays on device.",
                _evict_host.parameters,
                {
                    "below-the-root": _evict_host.parameters[0].is_not(root),
                    "on-both-tiers": has(full, device, _evict_host.parameters[0])
                    & has(full, host, _evict_host.parameters[0]),
                    "host-unlocked": forall(k, h)(~lock(k, host, h, _evict_host.parameters[0])),
                },
                (loses(has(k, t, x), x.is_(_evict_host.parameters[0]) & t.is_(host)),),
            ),
        ),
        (
            ("evict-host-copy", "backup-is-prefix-closed"),
            ("evict-host-copy", "hits-at-the-threshold-are-backed-up"),
            ("evict-host-copy", "host-eviction-takes-only-what-is-host-only"),
        ),
    ),
    WrongRule(
        "M-24",
        "a leaf is demoted though its backup was refused",
        THEORY,
        (_demote.without("backed-up"),),
        (("demote", "nodes-have-data"),),
    ),
    WrongRule(
        "M-29",
        "only the target is loaded, not its evicted ancestors",
        THEORY,
        (
            _load.updating(
                gains(
                    has(k, t, x),
                    t.is_(device) & x.is_(_load.parameters[1]) & has(k, host, x),
                ),
                gains(
                    fills(k, h, x),
                    h.is_(_load.parameters[0])
                    & x.is_(_load.parameters[1])
                    & has(k, host, x)
                    & ~has(k, device, x),
                ),
            ),
        ),
        (("load-back", "device-data-is-prefix-closed"),),
    ),
    WrongRule(
        "M-30",
        "an inner host-only node counts as a host leaf",
        THEORY,
        (_evict_host.without("childless"),),
        (("evict-host", "parents-and-children-agree"),),
    ),
    WrongRule(
        "M-34",
        "a prefetch puts host data below an unbacked node",
        THEORY,
        (_right("attach").without("parent-backed-up"),),
        (("attach", "backup-is-prefix-closed"),),
    ),
    WrongRule(
        "M-35",
        "a split does not transport host locks",
        THEORY,
        (
            _split.updating(
                gains(
                    lock(k, t, h, x),
                    x.is_(_upper) & t.is_(device) & k.is_not(mamba) & lock(k, t, h, _lower),
                )
            ),
        ),
        (("split", _HOST_SUMS),),
    ),
    WrongRule(
        "M-40",
        "write-back demotes before its copy ran",
        THEORY,
        (
            _right("write-back").updating(
                Update(
                    good,
                    (k, t, x),
                    good(k, t, x) & ~(x.is_(_right("write-back").parameters[0]) & t.is_(host)),
                )
            ),
        ),
        (("write-back", "host-slots-hold-their-prefix"),),
    ),
    WrongRule(
        "M-42",
        "pruning upwards does not stop at locked nodes",
        THEORY,
        (_evict_host.without("unlocked"),),
        (("evict-host", "receipts-refer-to-nodes-in-the-tree"),),
    ),
)

WRONG = {rule.id: rule for rule in (*RULES, *SLOT_RULES)}
"""Id -> wrong rule, of the forest and of the slots."""
