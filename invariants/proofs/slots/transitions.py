"""What happens to the slots of one token (domain.md 4.3, 5.5, 6.2.4, 6.8.1, 6.9)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import (
    FALSE,
    TRUE,
    Formula,
    Term,
    Update,
    becomes,
    forall,
    gains,
    loses,
    parameter,
)
from radixproof.invariants.proofs.slots.vocabulary import (
    CELL,
    HOST_SLOT,
    POSITION,
    SLOT,
    WINDOW_SLOT,
    a,
    c,
    free,
    full_at,
    host_at,
    host_free,
    leads,
    owned,
    p,
    q,
    reads,
    resident,
    row,
    swa_at,
    v,
    w,
    window_free,
    x,
    y,
)
from radixproof.invariants.proofs.system import Transition

at = parameter("at", POSITION)
cell = parameter("cell", CELL)
mine, theirs = parameter("mine", SLOT), parameter("theirs", SLOT)
window = parameter("window", WINDOW_SLOT)
hosted = parameter("hosted", HOST_SLOT)


def unread(token: Term) -> Formula:
    return forall(q)(~reads(q, token))


def without_swa(token: Term) -> Formula:
    return forall(v)(~swa_at(token, v))


INITIAL = (
    becomes(free(x), TRUE),
    becomes(window_free(w), TRUE),
    becomes(host_free(a), TRUE),
    becomes(leads(x, w), FALSE),
    becomes(resident(c), FALSE),
    becomes(full_at(c, x), FALSE),
    becomes(swa_at(c, w), FALSE),
    becomes(host_at(c, a), FALSE),
    becomes(row(p, x), FALSE),
    becomes(owned(p), FALSE),
    becomes(reads(p, c), FALSE),
)


def composite_free(slot: Term) -> tuple[Update, ...]:
    """The FULL slot, and the SWA slot behind it, whose entry in the map is cleared."""
    return (
        gains(free(x), x.is_(slot)),
        gains(window_free(w), leads(slot, w)),
        loses(leads(x, w), x.is_(slot)),
    )


def borrows(slot_now: Term) -> tuple[Update, ...]:
    """The position goes on reading the tree's token, in the slot that this has from now on."""
    return (
        loses(owned(p), p.is_(at)),
        Update(row, (p, x), (row(p, x) & p.is_not(at)) | (p.is_(at) & x.is_(slot_now))),
        gains(reads(p, c), p.is_(at) & c.is_(cell)),
    )


own = {"in-the-row": row(at, mine), "owned": owned(at)}

allocate = Transition(
    "allocate",
    "A request gets a FULL slot and an SWA slot, mapped, for one more position.",
    (at, mine, window),
    {
        "free": free(mine),
        "window-free": window_free(window),
        "position-new": forall(y)(~row(at, y)) & forall(c)(~reads(at, c)),
    },
    (
        loses(free(x), x.is_(mine)),
        loses(window_free(w), w.is_(window)),
        gains(leads(x, w), x.is_(mine) & w.is_(window)),
        gains(row(p, x), p.is_(at) & x.is_(mine)),
        gains(owned(p), p.is_(at)),
    ),
)

allocate_full = Transition(
    "allocate-full",
    "Where there is no SWA, a request gets a FULL slot alone.",
    (at, mine),
    {
        "free": free(mine),
        "position-new": forall(y)(~row(at, y)) & forall(c)(~reads(at, c)),
    },
    (
        loses(free(x), x.is_(mine)),
        gains(row(p, x), p.is_(at) & x.is_(mine)),
        gains(owned(p), p.is_(at)),
    ),
)

borrow = Transition(
    "borrow",
    "An admitted request reads a token that the tree has.",
    (at, cell, theirs),
    {
        "token-there": full_at(cell, theirs),
        "position-new": forall(y)(~row(at, y)) & forall(c)(~reads(at, c)),
    },
    (
        loses(owned(p), p.is_(at)),
        gains(row(p, x), p.is_(at) & x.is_(theirs)),
        gains(reads(p, c), p.is_(at) & c.is_(cell)),
    ),
)

slide = Transition(
    "slide",
    "A request gives back the SWA slot of a position that left its window.",
    (at, mine, window),
    {**own, "mapped": leads(mine, window)},
    (
        gains(window_free(w), w.is_(window)),
        loses(leads(x, w), x.is_(mine) & w.is_(window)),
    ),
)

hand_over = Transition(
    "hand-over",
    "An insert makes the slot at a position a new token of the tree, or revives an evicted one.",
    (at, mine, cell),
    {**own, "evicted": ~resident(cell), "no-swa-there": without_swa(cell)},
    (
        gains(resident(c), c.is_(cell)),
        gains(full_at(c, x), c.is_(cell) & x.is_(mine)),
        gains(swa_at(c, w), c.is_(cell) & leads(mine, w)),
        *borrows(mine),
    ),
)

duplicate = Transition(
    "duplicate",
    "The tree has the token: the request's own slot is freed, the tree's is read instead.",
    (at, mine, cell, theirs),
    {**own, "token-there": full_at(cell, theirs)},
    (*composite_free(mine), *borrows(theirs)),
)

adopt = Transition(
    "adopt",
    "A tombstone that nobody reads takes the request's slots, and its own are freed.",
    (at, mine, cell, theirs),
    {
        **own,
        "token-there": full_at(cell, theirs),
        "tombstone": without_swa(cell),
        "unread": unread(cell),
    },
    (
        gains(free(x), x.is_(theirs)),
        Update(full_at, (c, x), (full_at(c, x) & c.is_not(cell)) | (c.is_(cell) & x.is_(mine))),
        gains(swa_at(c, w), c.is_(cell) & leads(mine, w)),
        *borrows(mine),
    ),
)

move_window = Transition(
    "move-window",
    "A tombstone that may be read keeps its FULL slot and takes the SWA slot of the request's.",
    (at, mine, cell, theirs),
    {
        **own,
        "token-there": full_at(cell, theirs),
        "tombstone": without_swa(cell),
    },
    (
        gains(free(x), x.is_(mine)),
        gains(swa_at(c, w), c.is_(cell) & leads(mine, w)),
        Update(
            leads,
            (x, w),
            (leads(x, w) & x.is_not(mine)) | (x.is_(theirs) & leads(mine, w)),
        ),
        *borrows(theirs),
    ),
)

tombstone = Transition(
    "tombstone",
    "SWA eviction of a token that stays: the map's entry goes with the slot.",
    (cell, theirs, window),
    {"token-there": full_at(cell, theirs), "swa-there": swa_at(cell, window)},
    (
        gains(window_free(w), w.is_(window)),
        loses(swa_at(c, w), c.is_(cell)),
        loses(leads(x, w), x.is_(theirs)),
    ),
)

evict = Transition(
    "evict",
    "Device eviction of a token that nobody reads.",
    (cell, theirs),
    {"token-there": full_at(cell, theirs), "unread": unread(cell)},
    (
        *composite_free(theirs),
        loses(resident(c), c.is_(cell)),
        loses(full_at(c, x), c.is_(cell)),
        loses(swa_at(c, w), c.is_(cell)),
    ),
)

load_full = Transition(
    "load-full",
    "A load-back takes a slot of the FULL pool alone for an evicted token.",
    (cell, mine),
    {"free": free(mine), "evicted": ~resident(cell), "no-swa-there": without_swa(cell)},
    (
        loses(free(x), x.is_(mine)),
        gains(resident(c), c.is_(cell)),
        gains(full_at(c, x), c.is_(cell) & x.is_(mine)),
    ),
)

load_window = Transition(
    "load-window",
    "A load-back takes an SWA slot for a tombstone, and enters it in the map.",
    (cell, theirs, window),
    {
        "window-free": window_free(window),
        "token-there": full_at(cell, theirs),
        "tombstone": without_swa(cell),
    },
    (
        loses(window_free(w), w.is_(window)),
        gains(swa_at(c, w), c.is_(cell) & w.is_(window)),
        gains(leads(x, w), x.is_(theirs) & w.is_(window)),
    ),
)

leave = Transition(
    "leave",
    "A request ends, or goes on from a later prefix: a borrowed position is forgotten.",
    (at,),
    {"borrowed": ~owned(at)},
    (loses(row(p, x), p.is_(at)), loses(reads(p, c), p.is_(at))),
)

abort = Transition(
    "abort",
    "What a request owns is freed when nothing of it is cached.",
    (at, mine),
    own,
    (*composite_free(mine), loses(row(p, x), p.is_(at)), loses(owned(p), p.is_(at))),
)

back_up = Transition(
    "back-up",
    "A backup takes a host slot for a token.",
    (cell, hosted),
    {"host-free": host_free(hosted), "not-backed-up": forall(a)(~host_at(cell, a))},
    (loses(host_free(a), a.is_(hosted)), gains(host_at(c, a), c.is_(cell) & a.is_(hosted))),
)

back_up_refused = Transition(
    "back-up-refused",
    "A backup that finds no SWA host slot gives its FULL host slot back.",
    (hosted,),
    {"host-free": host_free(hosted)},
    (Update(host_free, (a,), host_free(a)),),
)

evict_host = Transition(
    "evict-host",
    "Host eviction of a token.",
    (cell, hosted),
    {"backed-up": host_at(cell, hosted)},
    (gains(host_free(a), a.is_(hosted)), loses(host_at(c, a), c.is_(cell))),
)

TRANSITIONS = (
    allocate,
    allocate_full,
    borrow,
    slide,
    hand_over,
    duplicate,
    adopt,
    move_window,
    tombstone,
    evict,
    load_full,
    load_window,
    leave,
    abort,
    back_up,
    back_up_refused,
    evict_host,
)
