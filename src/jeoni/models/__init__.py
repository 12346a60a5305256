"""Floor 4: backbones, families, checkpoints."""
