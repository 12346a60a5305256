"""Floor 5: one file a transfer strategy: an edit of a built model from outside."""
