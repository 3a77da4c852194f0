"""Counterexamples on SGLang as test files that stand alone (docs/guide-reproduce.md)."""
