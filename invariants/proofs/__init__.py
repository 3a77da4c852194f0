"""The transition relation of the specification in first-order logic, and what is proved of it.

Read in this order: ``vocabulary`` (what a state is), ``transitions/`` (what may happen),
``sentences/`` (what always holds), ``theory`` (all of it together). ``docs/proofs.md`` says what
is proved, under which abstraction, and what is not.
"""
