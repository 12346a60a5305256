"""Floor 7: use a trained model on text."""
