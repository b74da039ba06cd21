"""Worker processes: one that crashes or hangs costs its own photo."""
