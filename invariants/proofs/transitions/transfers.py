"""The other two moments of a copy: it is executed, and its end is observed (domain.md 8.1)."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import becomes, gains, loses, parameter
from radixproof.invariants.proofs.receipts import returned
from radixproof.invariants.proofs.system import Transition
from radixproof.invariants.proofs.vocabulary import (
    HOLDER,
    copies,
    device,
    fills,
    flying,
    good,
    h,
    host,
    k,
    marked,
    ran,
    t,
    target,
    x,
)

q = parameter("q", HOLDER)

execute = Transition(
    "execute",
    "Copy q runs: its target slots hold what its source slots hold now.",
    (q,),
    {"in-flight": flying(q), "first-time": ~ran(q)},
    (
        gains(ran(h), h.is_(q)),
        becomes(
            good(k, t, x),
            (t.is_(host) & copies(k, q, x) & good(k, device, x))
            | (t.is_(device) & fills(k, q, x) & good(k, host, x))
            | (
                good(k, t, x) & ~(t.is_(host) & copies(k, q, x)) & ~(t.is_(device) & fills(k, q, x))
            ),
        ),
    ),
)

observe = Transition(
    "observe",
    "The end of copy q is acknowledged: marks, locks and the copy itself end.",
    (q,),
    {"in-flight": flying(q), "executed": ran(q)},
    (
        loses(flying(h), h.is_(q)),
        loses(ran(h), h.is_(q)),
        loses(copies(k, h, x), h.is_(q)),
        loses(fills(k, h, x), h.is_(q)),
        loses(target(h, x), h.is_(q)),
        loses(marked(h, x), h.is_(q)),
        *returned(h.is_(q)),
    ),
)

TRANSITIONS = (execute, observe)
