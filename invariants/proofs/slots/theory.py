"""The theory of slots, and the wrong rules that it refutes."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Update, gains, loses
from radixproof.invariants.proofs.slots import sentences
from radixproof.invariants.proofs.slots import transitions as t
from radixproof.invariants.proofs.slots.vocabulary import (
    SIGNATURE,
    a,
    free,
    host_free,
    leads,
    w,
    window_free,
    x,
)
from radixproof.invariants.proofs.system import Theory, WrongRule

SLOTS = Theory(
    signature=SIGNATURE,
    axioms=(),
    initial=t.INITIAL,
    transitions=t.TRANSITIONS,
    invariants=sentences.INVARIANTS,
    steps=(),
    lemmas=(),
)

_OWNER = "device-slots-have-one-owner"

RULES = (
    WrongRule(
        "M-4",
        "duplicates are freed from the start, the borrowed prefix included",
        SLOTS,
        (t.duplicate.without("owned"),),
        (("duplicate", _OWNER),),
    ),
    WrongRule(
        "M-4b",
        "duplicates are freed to the end, those just adopted included",
        SLOTS,
        (t.adopt.updating(gains(free(x), x.is_(t.theirs) | x.is_(t.mine))),),
        (("adopt", _OWNER),),
    ),
    WrongRule(
        "M-19",
        "loaded SWA slots are not entered in the map",
        SLOTS,
        (t.load_window.keeping(leads),),
        (("load-window", "map-agrees-with-live-swa-data"),),
    ),
    WrongRule(
        "M-20",
        "SWA slots are freed without clearing the map",
        SLOTS,
        (t.tombstone.keeping(leads), t.evict.keeping(leads)),
        (("tombstone", "tombstones-are-unmapped"), ("evict", "free-slots-are-unmapped")),
    ),
    WrongRule(
        "M-31",
        "a refused SWA host allocation keeps the FULL host slots",
        SLOTS,
        (t.back_up_refused.updating(loses(host_free(a), a.is_(t.hosted))),),
        (("back-up-refused", "host-slots-have-one-owner"),),
    ),
    WrongRule(
        "M-41",
        "moved SWA slots are freed together with the FULL slots they came with",
        SLOTS,
        (
            t.move_window.updating(
                gains(window_free(w), leads(t.mine, w)),
                Update(
                    leads,
                    (x, w),
                    leads(x, w) & x.is_not(t.mine),
                ),
            ),
        ),
        (("move-window", _OWNER), ("move-window", "map-agrees-with-live-swa-data")),
    ),
)
