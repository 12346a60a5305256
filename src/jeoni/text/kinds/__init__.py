"""One file a kind of tokenizer: how text is prepared, how a vocabulary is learned, read and written."""
