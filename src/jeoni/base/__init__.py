"""Floor 1: what everything may use: errors, settings, files, look-up, randomness, the packed batch."""
