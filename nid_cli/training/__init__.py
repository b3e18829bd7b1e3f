"""Training: a generator of epoch events. Knows no database, no files, no console."""
