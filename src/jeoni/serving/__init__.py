"""Floor 8: use a trained model on text."""
