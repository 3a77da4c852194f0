"""How much of a release's own code the gate holds in place: it is changed, one place at a time."""
