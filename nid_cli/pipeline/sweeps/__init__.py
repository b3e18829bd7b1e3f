"""Sweeps: files of trainings, analyses and figures, as data."""
