"""What a state is: a forest of nodes, what lies on them, and who holds them.

Keys, slots and times are left out: a node is an individual, its place the ancestors it has. A
holder is a request, a client or a copy in flight. Sizes of windows are left out too: a window is
the part of a path from its lower end to its topmost node, whichever that is.
"""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Relation, Sort, constant, value, variables
from radixproof.invariants.proofs.system import Signature

COMPONENT = Sort("Component", ("full", "swa", "mamba"))
TIER = Sort("Tier", ("device", "host"))
NODE = Sort("Node")
HOLDER = Sort("Holder")

full, swa, mamba = (value(name, COMPONENT) for name in COMPONENT.values)
device, host = (value(name, TIER) for name in TIER.values)
root = constant("root", NODE)

# Names for bound variables, the same in every file.
k, j = variables(COMPONENT, "k j")
t, s = variables(TIER, "t s")
x, y, z = variables(NODE, "x y z")
h, g = variables(HOLDER, "h g")

# The configuration
uses = Relation("uses", (COMPONENT,), "the cache has component k", "never")
through = Relation("through", (), "the policy is write-through or write-through-selective", "never")
tiered = Relation("tiered", (), "there is a host tier", "never")

# The environment
short = Relation(
    "short", (NODE,), "the host pools cannot take x now, even after host eviction", "freely"
)

# The forest
live = Relation("live", (NODE,), "x is in the tree; the root always is")
up = Relation("up", (NODE, NODE), "y is x or an ancestor of x")
parent = Relation("parent", (NODE, NODE), "x points to y as its parent")

# Residency
has = Relation("has", (COMPONENT, TIER, NODE), "x has a value of component k on tier t")
good = Relation("good", (COMPONENT, TIER, NODE), "the bytes of that value are those of x's prefix")

# Locks: what a receipt says, and what the nodes count
holds = Relation("holds", (TIER, HOLDER), "h has a live receipt on tier t")
anchor = Relation("anchor", (TIER, HOLDER, NODE), "that receipt was taken on x")
takes = Relation("takes", (COMPONENT, TIER, HOLDER), "that receipt counts on component k")
edge = Relation(
    "edge", (COMPONENT, TIER, HOLDER, NODE), "it counts from its anchor up to x (the root: all)"
)
lock = Relation("lock", (COMPONENT, TIER, HOLDER, NODE), "x's lock count includes h")
stale = Relation(
    "stale", (COMPONENT, TIER, HOLDER, NODE), "a value of x was dropped or moved under h's lock"
)

# Transfers, from enqueue to acknowledgement
flying = Relation("flying", (HOLDER,), "h is a copy that is not acknowledged yet")
ran = Relation("ran", (HOLDER,), "that copy was executed")
copies = Relation("copies", (COMPONENT, HOLDER, NODE), "backup h copies component k of x to host")
fills = Relation("fills", (COMPONENT, HOLDER, NODE), "load h copies component k of x to device")
target = Relation("target", (HOLDER, NODE), "load h ends at x")
marked = Relation("marked", (HOLDER, NODE), "x carries the pending mark of backup h")

# Hits
reached = Relation("reached", (NODE,), "x's hit count reached the threshold")
excused = Relation("excused", (NODE,), "then its backup was refused, for want of host room")

RELATIONS = (
    uses, through, tiered, short, live, up, parent, has, good, holds, anchor, takes, edge, lock,
    stale, flying, ran, copies, fills, target, marked, reached, excused,
)  # fmt: skip
SIGNATURE = Signature(
    RELATIONS, {NODE: 6, HOLDER: 3}, (root,), preferred=(parent, good, tiered, through)
)
STATE = SIGNATURE.state
