"""One file a family: presets, weight names, tokenizer."""
