"""Judging real SGLang: by what its state shows, without a model beside it (docs/sglang.md)."""
