"""An abstraction of the specification: which page is where, and what is on its way.

Stated once, in ``relation.py``, as guarded commands over bits, and searched by three programs that
share nothing else: readable Python, numpy over whole frontiers, and SPIN.
"""
