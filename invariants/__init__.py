"""What must hold: predicates on states and on steps, each with a name that says it."""
