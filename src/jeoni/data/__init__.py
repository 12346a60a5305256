"""Floor 3: readers, the catalog of data sets, batching."""
