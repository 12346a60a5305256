"""Floor 2: the few operations that know how sequences are kept apart."""
