"""Floor 7: run a model over examples and score it."""
