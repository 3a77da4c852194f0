"""Step invariants: what each operation may, must and must not change."""
