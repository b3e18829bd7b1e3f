"""Analyses: networks and data in, plain values out. No database, no files, no console."""
