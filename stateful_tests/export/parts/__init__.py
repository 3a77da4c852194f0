"""The source that exported test files are made of. Read as text; nothing of ours imports it."""
