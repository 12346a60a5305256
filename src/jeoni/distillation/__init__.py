"""What smaller models learn from larger ones."""
