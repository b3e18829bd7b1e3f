"""Where tasks run: an engine takes tasks and gives their messages. ``local``: one process for each model."""
