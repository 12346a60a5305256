"""Floor 9: what the verbs do, as short flat functions."""
