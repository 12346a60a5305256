"""Floor 2: tokenizers with exact character offsets."""
