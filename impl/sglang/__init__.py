"""Real SGLang as a subject: a release or a checkout, CPU-only, unmodified (docs/sglang.md)."""
