"""Figures: records in, a matplotlib figure out. No database, no files."""
