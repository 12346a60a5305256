"""Floor 5: one file a task type: encode, head, loss, decode, metric."""
