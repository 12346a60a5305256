"""Floor 8: what the verbs do, as short flat functions."""
