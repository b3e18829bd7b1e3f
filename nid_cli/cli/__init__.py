"""The command line: parses, calls the pipeline, renders. Only here are typer and rich imported."""
