"""Floor 9: the command line, one file a verb."""
