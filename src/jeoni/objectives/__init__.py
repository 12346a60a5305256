"""Self-supervised objectives: one file each, corruption + head + loss."""
