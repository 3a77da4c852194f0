"""radixproof: a correctness gate for hierarchical KV prefix caches in LLM serving.

The packages live at the top of the repository (``model``, ``impl``, ``invariants``,
``stateful_tests``, ``cli``, ``benchmarks``); this folder links them under one import name.
"""

__version__ = "0.1.0"
