"""Several ranks of one release, each in a process of its own, and the collectives between them."""
