"""What each operation leaves alone (domain.md 6; the docstrings of ``model/operations.py``).

The effects of an operation are stated in its own module; these rules say that nothing else moves.
Nodes are followed by id, since indices shift when a node comes, goes or is split.
"""
