"""What does not hold on a release, as assertions; each method is named after its invariant.

``before`` and ``after`` are the states around the last call of the test.
"""
