"""The run registry: SQLite beside a folder of files. Knows no torch."""
