"""Floor 2: the one loop, its optimizer, checkpoints and ranks."""
