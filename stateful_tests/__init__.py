"""How the cache is checked: machines, walks, exploration, replay, and the tests of all that."""
