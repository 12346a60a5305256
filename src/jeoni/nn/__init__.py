"""Floor 3: the building blocks of the transformer."""
