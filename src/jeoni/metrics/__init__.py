"""Floor 1: official metrics, in the package, no network."""
