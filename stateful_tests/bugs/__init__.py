"""Known bugs: planted in the torch cache (planted.py), and in real releases (releases.py)."""
