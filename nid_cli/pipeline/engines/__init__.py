"""Where tasks run: an engine takes tasks and gives their messages. ``local``: a process a model on this machine."""
