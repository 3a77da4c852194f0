"""The executable specification (STRICT profile): pure Python, no torch, no clock, no I/O."""
