"""The nodes form a tree (domain.md 7.1).

Ancestors are a relation of their own, closed under reachability, so that closure properties can be
said without induction. The parent pointer is kept beside it: ancestry alone closes over the gap
that a removed inner node leaves, and would not see it.
"""

from __future__ import annotations

from radixproof.invariants.proofs.logic import forall, iff
from radixproof.invariants.proofs.system import Sentence
from radixproof.invariants.proofs.vocabulary import live, parent, root, up, x, y, z

INVARIANTS = (
    Sentence(
        "ancestors-are-in-the-tree",
        "Ancestry relates nodes of the tree, each of which is its own ancestor.",
        forall(x, y)((up(x, y) >> (live(x) & live(y))) & iff(live(x), up(x, x))),
        helper=True,
    ),
    Sentence(
        "ancestry-is-transitive",
        "An ancestor of an ancestor is an ancestor.",
        forall(x, y, z)((up(x, y) & up(y, z)) >> up(x, z)),
        helper=True,
    ),
    Sentence(
        "ancestry-is-antisymmetric",
        "No two nodes are ancestors of each other.",
        forall(x, y)((up(x, y) & up(y, x)) >> x.is_(y)),
        helper=True,
    ),
    Sentence(
        "ancestors-are-a-path",
        "Of two ancestors of a node one is an ancestor of the other.",
        forall(x, y, z)((up(x, y) & up(x, z)) >> (up(y, z) | up(z, y))),
        helper=True,
    ),
    Sentence(
        "the-root-is-on-top",
        "The root is in the tree and an ancestor of every node.",
        live(root) & forall(x)(live(x) >> up(x, root)),
        helper=True,
    ),
    Sentence(
        "parents-and-children-agree",
        "A node's parent is in the tree: its nearest proper ancestor.",
        forall(x, y, z)(
            parent(x, y) >> (up(x, y) & x.is_not(y) & ((up(x, z) & z.is_not(x)) >> up(y, z)))
        ),
    ),
)
