"""Who owns which slot, and where the map leads: a second theory, of single tokens.

The forest leaves slots out. Here a state is what the pools, the map, the tree's values and a
request's row say of single tokens, and an operation on a node is one on each of its tokens.
"""
