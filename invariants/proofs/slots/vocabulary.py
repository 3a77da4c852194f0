"""Slots of the device pools and of the host, tokens of the tree, positions of requests."""

from __future__ import annotations

from radixproof.invariants.proofs.logic import Relation, Sort, variables
from radixproof.invariants.proofs.system import Signature

SLOT = Sort("Slot")
WINDOW_SLOT = Sort("WindowSlot")
HOST_SLOT = Sort("HostSlot")
CELL = Sort("Cell")
POSITION = Sort("Position")

x, y, z = variables(SLOT, "x y z")
w, v = variables(WINDOW_SLOT, "w v")
a, b = variables(HOST_SLOT, "a b")
c, d = variables(CELL, "c d")
p, q = variables(POSITION, "p q")

free = Relation("free", (SLOT,), "FULL slot x is free")
window_free = Relation("window-free", (WINDOW_SLOT,), "SWA slot w is free")
host_free = Relation("host-free", (HOST_SLOT,), "FULL host slot a is free")
leads = Relation("leads", (SLOT, WINDOW_SLOT), "the map leads from FULL slot x to SWA slot w")
resident = Relation("resident", (CELL,), "token c has a FULL slot")
full_at = Relation("full-at", (CELL, SLOT), "token c of the tree has FULL slot x")
swa_at = Relation("swa-at", (CELL, WINDOW_SLOT), "token c of the tree has SWA slot w")
host_at = Relation("host-at", (CELL, HOST_SLOT), "token c of the tree has host slot a")
row = Relation("row", (POSITION, SLOT), "position p of a request's row is slot x")
owned = Relation("owned", (POSITION,), "the request owns the slot at p; else the tree does")
reads = Relation("reads", (POSITION, CELL), "position p is token c of the tree, which it locks")

SIGNATURE = Signature(
    (free, window_free, host_free, leads, resident, full_at, swa_at, host_at, row, owned, reads),
    {SLOT: 3, WINDOW_SLOT: 2, HOST_SLOT: 1, CELL: 2, POSITION: 2},
)
