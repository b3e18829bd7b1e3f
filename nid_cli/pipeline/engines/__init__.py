"""Where tasks run: an engine takes tasks and gives their messages. ``local``: a process for each model, on this machine."""
