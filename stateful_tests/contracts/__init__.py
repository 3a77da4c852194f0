"""What the pure functions of the model promise, for CrossHair to refute and Hypothesis to try."""
